import { RecordCollection, type Storage } from "@rk8s/storage";
import { z } from "zod";
import type { HeadStore } from "./audit-chain.js";
import type { ChainHead } from "./chain-link.js";

const headRecord = z.object({ sequence: z.int().min(0), sha256: z.string().regex(/^[0-9a-f]{64}$/) });

/** Heads of the cluster's own log. */
const CLUSTER_HEADS = "cluster/audit-head/";

/** Whose log it is. */
export interface LogOwner {
  /** Tells this host's logs from those of others that have the same store. */
  readonly host: string;
  /** Whether others may have the store now: it can be moved while it is used. */
  readonly isShared: () => boolean;
}

interface HeadPlace {
  /** With trailing slash. */
  readonly prefix: string;
  /** Of whichever host has the store alone. */
  readonly alone: string;
  /** Of this host; default: there is no other one ever. */
  readonly ofHost?: string | undefined;
  /** As `LogOwner`. Default: no. */
  readonly isShared?: (() => boolean) | undefined;
}

/** Of the cluster's own log. */
export function clusterHead(barrier: Storage, { host, isShared }: LogOwner): StoredHead {
  return new StoredHead(barrier, { prefix: CLUSTER_HEADS, alone: "cluster", ofHost: host, isShared });
}

/**
 * The head of an audit log behind the barrier: who can write the log cannot forge or roll back this. A host keeps its own under
 * a name of its own, and while it has the store alone under a second one as well: the vault may go to another host, or the host
 * lose its name.
 */
export class StoredHead implements HeadStore {
  readonly #records: RecordCollection<ChainHead>;
  readonly #place: HeadPlace;

  constructor(barrier: Storage, place: HeadPlace) {
    this.#records = new RecordCollection(barrier, place.prefix, headRecord);
    this.#place = place;
  }

  /** The first of its names under which there is one. */
  async load(): Promise<ChainHead | undefined> {
    for (const name of this.#names) {
      const stored = await this.#records.read(name);
      if (stored !== undefined) return stored.record;
    }
    return undefined;
  }

  async save(head: ChainHead): Promise<void> {
    await this.#records.storage.transaction(
      [],
      this.#names.map((name) => this.#records.put(name, head)),
    );
  }

  /** There is no such log any more. */
  async forget(): Promise<void> {
    await this.#records.storage.transaction(
      [],
      this.#allNames.map((name) => this.#records.delete(name)),
    );
  }

  /** Those that count now, the host's own first. */
  get #names(): readonly string[] {
    return this.#place.isShared?.() === true ? this.#allNames.slice(0, 1) : this.#allNames;
  }

  get #allNames(): readonly string[] {
    const { alone, ofHost = alone } = this.#place;
    return [...new Set([ofHost, alone])];
  }
}
