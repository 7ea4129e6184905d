import { timingSafeEqual } from "node:crypto";
import { RksError } from "@rk8s/protocol";
import { type Comparison, type Entry, pagesOf, type Storage, type Write } from "@rk8s/storage";
import { z } from "zod";
import { STORE_STATE_KEY } from "../vault/members/in-use.js";
import { SEAL_CONFIG_KEY } from "../vault/seal/seal.js";
import { type KeySource, recordMac } from "./record-mac.js";

/** What is about a store rather than in it. */
const STATE_PREFIX = "storage/";
/** What makes a store a vault: its seal and the barrier's counter. In a copy it comes last and all at once. */
export const SEAL_PREFIX = "core/";
const MAC_PURPOSE = "rk8s/store-state/1";
const RESTORE = "Restore the newest backup with `rks storage restore FILE`.";

const common = {
  version: z.literal(1),
  /** Which vault; see `vaultIdOf`. */
  vault: z.string(),
  /** Grows when the vault goes back to an older state on purpose, by a restore. */
  epoch: z.int().min(0),
  /** How many moves of this epoch had brought the vault here when it was here last; hosts' clocks need not agree. Default: none. */
  moves: z.int().min(0).optional(),
  /** For people. */
  at: z.string(),
};
const summed = {
  /** Entries behind the barrier, and the digest of them, at the moment when the store became or ceased to be the vault. */
  entries: z.int().min(0),
  digest: z.string(),
};
/** How a store is reached by whoever has the certificates; nothing in it is secret. */
const storePlace = z.discriminatedUnion("type", [
  z.object({ type: z.literal("etcd"), endpoints: z.array(z.string()), prefix: z.string() }),
  z.object({ type: z.literal("sql"), url: z.object({ file: z.string() }) }),
]);
const move = {
  /** Names one migration. */
  migration: z.string(),
  /** The other store, for people. */
  to: z.string(),
  /** The other store, for a start that has to ask it; none: a vault folder, or a URL that may hold a password. */
  place: storePlace.optional(),
};

const stateRecord = z.discriminatedUnion("state", [
  /** The vault is here; a store without any record counts as this when it holds a vault. */
  z.object({
    ...common,
    state: z.literal("active"),
    migration: z.string().optional(),
    from: z.string().optional(),
    entries: z.int().min(0).optional(),
    digest: z.string().optional(),
    /** When the backup was made from which it was restored. */
    restoredFrom: z.string().optional(),
    /** The store that may have been the vault since then, and was given up; then there was no backup. */
    gaveUp: z.string().optional(),
    /** What must not come back with a backup is not voided yet. */
    isUnsettled: z.boolean().optional(),
    /** Whether nodes may go on with certificates that were issued since the backup. */
    adoptsNodes: z.boolean().optional(),
  }),
  /** The vault is here and is being copied away. */
  z.object({ ...common, state: z.literal("leaving"), ...move }),
  /** Whether the vault is here or in the other store, that one says. */
  z.object({ ...common, state: z.literal("switching"), ...move, ...summed }),
  /** The vault was here. */
  z.object({ ...common, state: z.literal("moved"), ...move, ...summed }),
  /** Half a copy: no vault. */
  z.object({ ...common, state: z.literal("copying"), migration: z.string(), from: z.string() }),
  /** Half a backup: no vault. */
  z.object({ ...common, state: z.literal("restoring"), restoredFrom: z.string() }),
]);

/** What a store is to a vault. There is one writer: whoever migrates or restores. */
export type StoreState = z.output<typeof stateRecord>;
export type StorePlace = z.output<typeof storePlace>;
export type StoreStateOf<S extends StoreState["state"]> = Extract<StoreState, { readonly state: S }>;

/** How far a vault's history is in a store. */
export interface Standing {
  readonly epoch: number;
  readonly moves: number;
}

/** None is said: the store has been the vault from the beginning. */
export function standingOf(state: StoreState | undefined): Standing {
  return { epoch: state?.epoch ?? 0, moves: state?.moves ?? 0 };
}

const sealedState = z.object({ state: stateRecord, term: z.int(), mac: z.string() });

/** A state as it is kept. */
export interface StoredState {
  readonly state: StoreState;
  readonly modRevision: number;
  readonly value: Uint8Array;
  /** Of the keyring, and what its key made of the state. */
  readonly term: number;
  readonly mac: Uint8Array;
}

/**
 * Read what a store says of itself; undefined when it says nothing. Whether it is true takes the vault's keys.
 * @throws {RksError} STORAGE_CORRUPT
 */
export async function readState(storage: Pick<Storage, "get">): Promise<StoredState | undefined> {
  const entry = await storage.get(STORE_STATE_KEY);
  if (entry === undefined) return undefined;
  try {
    const { state, term, mac } = sealedState.parse(JSON.parse(Buffer.from(entry.value).toString()));
    const { modRevision, value } = entry;
    return { state, modRevision, value, term, mac: Buffer.from(mac, "hex") };
  } catch (cause) {
    throw damaged(cause);
  }
}

/** Whether the store holds a vault, or what was one. */
export async function holdsVault(storage: Pick<Storage, "get">): Promise<boolean> {
  return (await storage.get(SEAL_CONFIG_KEY)) !== undefined;
}

/** Whether a key is copied with the others, entry by entry: neither the state, which is each store's own, nor the seal. */
export function isContent(key: string): boolean {
  return !key.startsWith(STATE_PREFIX) && !key.startsWith(SEAL_PREFIX);
}

/** Everything under `SEAL_PREFIX`, which are few entries. */
export async function readSealEntries(storage: Pick<Storage, "list">): Promise<readonly Entry[]> {
  const all: Entry[] = [];
  for await (const entries of pagesOf(storage, SEAL_PREFIX)) all.push(...entries);
  return all;
}

/** Whether this vault wrote the state. */
export function isAuthentic({ state, term, mac }: StoredState, keys: KeySource): boolean {
  const expected = recordMac(state, keys, { purpose: MAC_PURPOSE, term })?.mac;
  return expected?.length === mac.length && timingSafeEqual(expected, mac);
}

/** The write of a state. @throws {RksError} VAULT_SEALED. */
export function stateWrite(state: StoreState, keys: KeySource): Write {
  const made = recordMac(state, keys, { purpose: MAC_PURPOSE });
  if (made === undefined) throw RksError.from(new Error("the active term has no key"));
  const record: z.input<typeof sealedState> = { state, term: made.term, mac: made.mac.toString("hex") };
  return { type: "put", key: STORE_STATE_KEY, value: Buffer.from(JSON.stringify(record)) };
}

/** What a transaction compares so that nobody else changed the state meanwhile. */
export function sameState(stored: Pick<StoredState, "modRevision"> | undefined): Comparison {
  return { key: STORE_STATE_KEY, modRevision: stored?.modRevision ?? 0 };
}

/**
 * Write the state as it is once more: a transaction that compares it and is still under way somewhere will not be done.
 * False: it has changed meanwhile.
 */
export async function writeAgain(storage: Storage, stored: StoredState): Promise<boolean> {
  const write: Write = { type: "put", key: STORE_STATE_KEY, value: stored.value };
  return (await storage.transaction([sameState(stored)], [write])).succeeded;
}

/** STORAGE_CORRUPT, for a state that is not authentic. */
export function untrueState(): RksError {
  return new RksError("STORAGE_CORRUPT", "what the store says of itself is not what this vault wrote there", {
    suggestion: RESTORE,
  });
}

function damaged(cause: unknown): RksError {
  return new RksError("STORAGE_CORRUPT", `the record "${STORE_STATE_KEY}" of the store cannot be read`, {
    cause,
    suggestion: RESTORE,
  });
}
