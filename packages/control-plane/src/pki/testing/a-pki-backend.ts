import { memoryStorage, type Storage } from "@rk8s/storage";
import type { Answer, Backend, JsonObject, MountInit, Operation } from "../../vault/backend.js";
import { askBackend } from "../../vault/testing/ask-backend.js";
import { pkiBackend } from "../pki-backend.js";

type Asked = Exclude<Operation, "help">;

/** A PKI backend without a vault around it: whoever asks is let through. */
export interface TestPki {
  readonly backend: Backend;
  readonly storage: Storage;
  /** Settable wall clock, milliseconds. */
  readonly clock: { nowMs: number };
  readonly ask: (operation: Asked, path: string, data?: object) => Promise<Answer | undefined>;
  /** Write; the answer's data. */
  readonly write: (path: string, data?: object) => Promise<Readonly<Record<string, unknown>>>;
  /** Read; the answer's data, empty when there is nothing. */
  readonly read: (path: string) => Promise<Readonly<Record<string, unknown>>>;
}

export const TEST_NOW_MS = Date.UTC(2026, 5, 1, 12);
export const TEST_PREFIX = "logical/1/";

/** Open one over memory, or over `storage`. */
export async function aPki(
  init: { readonly storage?: Storage; readonly mount?: Partial<MountInit> } = {},
): Promise<TestPki> {
  const { storage = memoryStorage() } = init;
  const clock = { nowMs: TEST_NOW_MS };
  const mount = {
    path: "pki/",
    type: "pki",
    accessor: "pki_test",
    options: {},
    storagePrefix: TEST_PREFIX,
    defaultTtlSeconds: 2_764_800,
    maxTtlSeconds: 315_360_000,
    ...init.mount,
  };
  const ports = { clock: { now: () => clock.nowMs, monotonicMs: () => 0, sleep: () => Promise.resolve() } };
  const backend = await pkiBackend(ports)(mount, storage);
  const ask: TestPki["ask"] = (operation, path, data = {}) =>
    askBackend(backend, operation, path, data as JsonObject);
  return {
    backend,
    storage,
    clock,
    ask,
    write: async (path, data) => (await ask("update", path, data))?.data ?? {},
    read: async (path) => (await ask("read", path))?.data ?? {},
  };
}
