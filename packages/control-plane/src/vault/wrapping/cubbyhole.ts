import { RksError } from "@rk8s/protocol";
import { deletePrefix, type Storage, type Write } from "@rk8s/storage";

import type { JsonObject } from "../backend.js";
import { listFolder } from "../list-folder.js";

const PREFIX = "cubbyhole/";
const MAX_VALUE_BYTES = 1_000_000;

/** A place for each token, which ends with it. What another token keeps cannot even be named. */
export class Cubbyhole {
  readonly #storage: Storage;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  async read(token: string, path: string): Promise<JsonObject | undefined> {
    const stored = await this.#storage.get(keyOf(token, path));
    return stored === undefined
      ? undefined
      : (JSON.parse(Buffer.from(stored.value).toString()) as JsonObject);
  }

  /** @throws {RksError} INPUT_INVALID when it is too large. */
  async write(token: string, path: string, data: JsonObject): Promise<void> {
    await this.#storage.transaction([], [cubbyholeWrite(token, path, data)]);
  }

  async delete(token: string, path: string): Promise<void> {
    await this.#storage.transaction([], [{ type: "delete", key: keyOf(token, path) }]);
  }

  /** Names below a folder of the token's place: `""` or with a trailing slash. */
  list(token: string, folder: string): Promise<string[]> {
    return listFolder(this.#storage, keyOf(token, folder));
  }

  /** Delete everything that a token kept. */
  async clear(token: string): Promise<void> {
    await deletePrefix(this.#storage, `${PREFIX}${token}/`);
  }
}

/**
 * What keeps something in a token's place, for a transaction that also makes the token.
 * @throws {RksError} INPUT_INVALID when it is too large.
 */
export function cubbyholeWrite(token: string, path: string, data: JsonObject): Write {
  const value = Buffer.from(JSON.stringify(data));
  if (value.byteLength <= MAX_VALUE_BYTES) return { type: "put", key: keyOf(token, path), value };
  throw new RksError(
    "INPUT_INVALID",
    `${value.byteLength} bytes are too many to be kept with a token, at most ${MAX_VALUE_BYTES} are possible`,
    { suggestion: "Keep less." },
  );
}

function keyOf(token: string, path: string): string {
  if (token === "") throw new TypeError("only who holds a token has a place of their own");
  return `${PREFIX}${token}/${path}`;
}
