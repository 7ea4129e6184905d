import { RksError } from "@rk8s/protocol";
import { pagesOf, type Storage, type Write } from "@rk8s/storage";

import type { Changes } from "../members/changes.js";
import { Acl } from "./acl.js";
import { DEFAULT, DEFAULT_POLICY_TEXT, FIXED_POLICIES, RESPONSE_WRAPPING } from "./builtin-policies.js";
import { parsePolicy } from "./policy-parser.js";
import { PolicySet } from "./policy-set.js";
import type { Policy, PolicyIdentity } from "./policy.js";
import { RecentMap } from "./recent-map.js";

const PREFIX = "policy/";
/** Documents that are kept parsed. */
const MAX_PARSED = 1024;
/** Different sets of policies that are kept ready. */
const MAX_SETS = 256;
/** Different sets of policies, filled in for one identity each, that are kept ready. */
const MAX_ACLS = 4096;
const NAME = /^[a-z0-9][a-z0-9_.@-]{0,127}$/;
const ROOT = "root";
const ROOT_ACL = new Acl([], { isRoot: true });

/**
 * The policies of a vault by name. Three are always there: `root`, which allows everything and has no text,
 * `default`, which can be replaced but not deleted, and `response-wrapping`, which is not listed. What it parsed stays parsed
 * until it is told that another process wrote.
 */
export class PolicyStore {
  readonly #storage: Storage;
  readonly #parsed = new RecentMap<Policy>(MAX_PARSED);
  /** By the names of the policies; made anew after every change. */
  readonly #sets = new RecentMap<PolicySet>(MAX_SETS);
  /** By the names and what the identity fills in. */
  readonly #acls = new RecentMap<Acl>(MAX_ACLS);
  /** Moves with every change, so that a reader does not remember what was replaced while it read. */
  #generation = 0;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  /** Follow what other processes write: nothing that was made of policies counts any more. */
  follow(changes: Changes): void {
    changes.on(PREFIX, () => this.#forgetAll());
    changes.onGap(() => this.#forgetAll());
  }

  /** The names that a token can be given: in order, `root` last. */
  async list(): Promise<string[]> {
    const names = new Set([DEFAULT]);
    for await (const entries of pagesOf(this.#storage, PREFIX)) {
      for (const { key } of entries) names.add(key.slice(PREFIX.length));
    }
    return [...[...names].toSorted(), ROOT];
  }

  /** The document as it was written; undefined when there is no such policy. `root` has an empty one. */
  async read(name: string): Promise<string | undefined> {
    const normal = normalName(name);
    const fixed = FIXED_POLICIES.get(normal);
    if (fixed !== undefined) return fixed;
    const entry = await this.#storage.get(PREFIX + normal);
    if (entry !== undefined) return Buffer.from(entry.value).toString();
    return normal === DEFAULT ? DEFAULT_POLICY_TEXT : undefined;
  }

  /** @throws {RksError} INPUT_INVALID for a bad name or document, and for `root` and `response-wrapping`. */
  async write(name: string, text: string): Promise<void> {
    const normal = normalName(name);
    assertMutable(normal, [ROOT, RESPONSE_WRAPPING]);
    parsePolicy(text);
    await this.#change(normal, { type: "put", key: PREFIX + normal, value: Buffer.from(text) });
  }

  /**
   * Deleting what is not there is done already.
   * @throws {RksError} INPUT_INVALID for `root`, `default` and `response-wrapping`.
   */
  async delete(name: string): Promise<void> {
    const normal = normalName(name);
    assertMutable(normal, [ROOT, DEFAULT, RESPONSE_WRAPPING]);
    await this.#change(normal, { type: "delete", key: PREFIX + normal });
  }

  /**
   * What the named policies allow together, to whoever the identity says; a name without a policy allows nothing.
   * Without an identity, templated rules are left out (`renderPolicyTemplate`).
   * @throws {RksError} STORAGE_CORRUPT when a stored document cannot be read.
   */
  async acl(names: readonly string[], identity?: PolicyIdentity): Promise<Acl> {
    if (names.includes(ROOT)) return ROOT_ACL;
    const id = JSON.stringify(names);
    const generation = this.#generation;
    const known = this.#sets.get(id);
    const set = known ?? new PolicySet(await this.#policies(names));
    const isCurrent = generation === this.#generation;
    if (known === undefined && isCurrent) this.#sets.set(id, set);
    const key = `${id} ${set.fingerprint(identity) ?? ""}`;
    const ready = isCurrent ? this.#acls.get(key) : undefined;
    const acl = ready ?? set.acl(identity);
    if (ready === undefined && isCurrent) this.#acls.set(key, acl);
    return acl;
  }

  async #policies(names: readonly string[]): Promise<readonly Policy[]> {
    const policies: Policy[] = [];
    for (const name of new Set(names)) {
      const policy = NAME.test(name) ? await this.#policy(name) : undefined;
      if (policy !== undefined) policies.push(policy);
    }
    return policies;
  }

  async #policy(name: string): Promise<Policy | undefined> {
    const known = this.#parsed.get(name);
    if (known !== undefined) return known;
    const generation = this.#generation;
    const text = await this.read(name);
    if (text === undefined) return undefined;
    const policy = parseStored(name, text);
    if (generation === this.#generation) this.#parsed.set(name, policy);
    return policy;
  }

  /** What was made of the policy is forgotten before and after, whether the write fails or not. */
  async #change(name: string, write: Write): Promise<void> {
    this.#forget(name);
    try {
      await this.#storage.transaction([], [write]);
    } finally {
      this.#forget(name);
    }
  }

  #forgetAll(): void {
    this.#generation += 1;
    this.#parsed.clear();
    this.#sets.clear();
    this.#acls.clear();
  }

  #forget(name: string): void {
    this.#generation += 1;
    this.#parsed.delete(name);
    this.#sets.clear();
    this.#acls.clear();
  }
}

/**
 * The one spelling of a policy's name: lower case.
 * @throws {RksError} INPUT_INVALID
 */
export function normalName(name: string): string {
  const normal = name.toLowerCase();
  if (NAME.test(normal)) return normal;
  throw new RksError("INPUT_INVALID", `policy name ${JSON.stringify(name.slice(0, 80))} is not possible`, {
    suggestion: "Use 1 to 128 of the characters a-z, 0-9, _ . @ and -, beginning with a letter or digit.",
  });
}

function assertMutable(name: string, fixed: readonly string[]): void {
  if (!fixed.includes(name)) return;
  throw new RksError("INPUT_INVALID", `policy "${name}" cannot be changed this way`, {
    suggestion: "Write a policy with a name of your own.",
  });
}

/** What a newer version wrote may say things that this one would not enforce; then nothing is allowed. */
function parseStored(name: string, text: string): Policy {
  try {
    return parsePolicy(text);
  } catch (cause) {
    throw new RksError("STORAGE_CORRUPT", `the stored policy "${name}" has a form that is not known`, {
      suggestion: "Write the policy anew, or use the version of rks that wrote it.",
      cause,
    });
  }
}
