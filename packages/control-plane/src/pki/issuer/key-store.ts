import { createPrivateKey, type KeyObject } from "node:crypto";
import { RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import type { IssuerKey, IssuerState } from "./issuer.js";
import { readPrivateKey } from "./issuer-records.js";
import { DEFAULT_REFERENCE, findByReference } from "./reference.js";

/** The keys of a mount. Private parts are in the barrier and come out only to sign or to be exported at birth. */
export class KeyStore {
  readonly #storage: Storage;
  readonly #prefix: string;
  readonly #state: () => IssuerState;

  constructor(storage: Storage, prefix: string, state: () => IssuerState) {
    this.#storage = storage;
    this.#prefix = prefix;
    this.#state = state;
  }

  /** All keys by id. */
  get all(): ReadonlyMap<string, IssuerKey> {
    return this.#state().keys;
  }

  /** The key that an id, a name or `default` means. */
  find(reference: string): IssuerKey | undefined {
    const { keys, defaultKeyId } = this.#state();
    return findByReference(reference === DEFAULT_REFERENCE ? defaultKeyId : reference, keys);
  }

  /** @throws {RksError} INPUT_INVALID when there is no such key. */
  require(reference: string): IssuerKey {
    const key = this.find(reference);
    if (key !== undefined) return key;
    const problem =
      reference === DEFAULT_REFERENCE
        ? "no default key currently configured"
        : `unable to find PKI key for reference: ${JSON.stringify(reference.slice(0, 80))}`;
    throw new RksError("INPUT_INVALID", problem, {
      suggestion: "List the keys, and name one by key_name or key_id.",
    });
  }

  /** Read a private key out of the barrier. @throws {RksError} STORAGE_CORRUPT. */
  async privateKey(id: string): Promise<KeyObject> {
    const pkcs8 = await readPrivateKey(this.#storage, this.#prefix, id);
    try {
      const key = Buffer.from(pkcs8.buffer, pkcs8.byteOffset, pkcs8.length);
      return createPrivateKey({ key, format: "der", type: "pkcs8" });
    } finally {
      pkcs8.fill(0);
    }
  }
}
