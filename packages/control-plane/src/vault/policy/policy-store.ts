import { RksError } from "@rk8s/protocol";

import type { Storage, Write } from "../../storage/storage.js";
import { Acl } from "./acl.js";
import { parsePolicy } from "./policy-parser.js";
import { DEFAULT_POLICY_TEXT } from "./policy.js";
import type { Policy } from "./policy.js";

const PREFIX = "policy/";
/** Different sets of policies whose ACL is kept ready. */
const MAX_ACLS = 256;
const NAME = /^[a-z0-9][a-z0-9_.@-]{0,127}$/;

/**
 * The policies of a vault by name. Two are always there: `root`, which allows everything and has no text, and
 * `default`, which can be replaced but not deleted. The store is the only writer, so what it parsed stays parsed.
 */
export class PolicyStore {
  readonly #storage: Storage;
  readonly #parsed = new Map<string, Policy>();
  /** By the names of the policies; made anew after every change. */
  readonly #acls = new Map<string, Acl>();
  /** Moves with every change, so that a reader does not remember what was replaced while it read. */
  #generation = 0;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  /** Names in order. */
  async list(): Promise<string[]> {
    const names = new Set(["default", "root"]);
    for (let after: string | undefined; ;) {
      const page = await this.#storage.list(PREFIX, after === undefined ? {} : { after });
      for (const { key } of page.entries) names.add(key.slice(PREFIX.length));
      after = page.entries.at(-1)?.key;
      if (!page.more || after === undefined) return [...names].toSorted();
    }
  }

  /** The document as it was written; undefined when there is no such policy. `root` has an empty one. */
  async read(name: string): Promise<string | undefined> {
    const normal = normalName(name);
    if (normal === "root") return "";
    const entry = await this.#storage.get(PREFIX + normal);
    if (entry !== undefined) return Buffer.from(entry.value).toString();
    return normal === "default" ? DEFAULT_POLICY_TEXT : undefined;
  }

  /** @throws {RksError} INPUT_INVALID for a bad name or document, and for `root`. */
  async write(name: string, text: string): Promise<void> {
    const normal = normalName(name);
    assertMutable(normal, ["root"]);
    parsePolicy(text);
    await this.#change(normal, { type: "put", key: PREFIX + normal, value: Buffer.from(text) });
  }

  /** Deleting what is not there is done already. @throws {RksError} INPUT_INVALID for `root` and `default`. */
  async delete(name: string): Promise<void> {
    const normal = normalName(name);
    assertMutable(normal, ["root", "default"]);
    await this.#change(normal, { type: "delete", key: PREFIX + normal });
  }

  /** What the named policies allow together; a name without a policy allows nothing. */
  async acl(names: readonly string[]): Promise<Acl> {
    if (names.includes("root")) return new Acl([], { isRoot: true });
    const id = names.join();
    const known = this.#acls.get(id);
    if (known !== undefined) return known;
    const generation = this.#generation;
    const policies: Policy[] = [];
    for (const name of names) {
      const policy = await this.#policy(name);
      if (policy !== undefined) policies.push(policy);
    }
    const acl = new Acl(policies);
    if (generation === this.#generation) this.#remember(id, acl);
    return acl;
  }

  #remember(id: string, acl: Acl): void {
    if (this.#acls.size >= MAX_ACLS) this.#acls.clear();
    this.#acls.set(id, acl);
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

  #forget(name: string): void {
    this.#generation += 1;
    this.#parsed.delete(name);
    this.#acls.clear();
  }

  async #policy(name: string): Promise<Policy | undefined> {
    const known = this.#parsed.get(name);
    if (known !== undefined) return known;
    const generation = this.#generation;
    const text = await this.read(name);
    if (text === undefined) return undefined;
    const policy = parsePolicy(text);
    if (generation === this.#generation) this.#parsed.set(name, policy);
    return policy;
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
