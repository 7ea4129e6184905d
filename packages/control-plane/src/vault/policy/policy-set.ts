import { Acl } from "./acl.js";
import type { Policy, PolicyIdentity } from "./policy.js";
import { renderPolicyTemplate, resolveTemplate } from "./template.js";

/** Policies that are used together. What holds for everybody is made once, what an identity fills in goes on top. */
export class PolicySet {
  readonly #base: Acl;
  readonly #templated: Policy;

  constructor(policies: readonly Policy[]) {
    // Templated rules are left out here.
    this.#base = new Acl(policies);
    this.#templated = {
      rules: policies.flatMap(({ rules }) => rules.filter(({ template }) => template !== undefined)),
    };
  }

  /** The same text only for the same identity with the same values in all places; undefined when there are none. */
  fingerprint(identity: PolicyIdentity | undefined): string | undefined {
    if (this.#templated.rules.length === 0) return undefined;
    const values = this.#templated.rules.flatMap(({ template = [] }) =>
      resolveTemplate(template, identity).map((value) => value ?? null),
    );
    return JSON.stringify([identity?.id ?? null, ...values]);
  }

  acl(identity: PolicyIdentity | undefined): Acl {
    const rendered = renderPolicyTemplate(this.#templated, identity);
    return rendered.rules.length === 0 ? this.#base : new Acl([rendered], { base: this.#base });
  }
}
