import { RecordCollection, type Storage } from "@rk8s/storage";
import { z } from "zod";
import type { HeadStore } from "./audit-chain.js";
import type { ChainHead } from "./chain-link.js";

const headRecord = z.object({ sequence: z.int().min(0), sha256: z.string().regex(/^[0-9a-f]{64}$/) });

/** Where a head is in the store. */
interface HeadPlace {
  /** With trailing slash. */
  readonly prefix: string;
  readonly name: string;
}

/** Heads of the cluster's own log: of a control plane that is alone under `cluster`, of several each under its host's id. */
export const CLUSTER_HEADS = "cluster/audit-head/";
const CLUSTER: HeadPlace = { prefix: CLUSTER_HEADS, name: "cluster" };

/** The head of an audit log behind the barrier: who can write the log cannot forge or roll back this. */
export class StoredHead implements HeadStore {
  readonly #records: RecordCollection<ChainHead>;
  readonly #name: string;

  /** Default: of the cluster's own log. */
  constructor(barrier: Storage, { prefix, name }: HeadPlace = CLUSTER) {
    this.#records = new RecordCollection(barrier, prefix, headRecord);
    this.#name = name;
  }

  async load(): Promise<ChainHead | undefined> {
    return (await this.#records.read(this.#name))?.record;
  }

  async save(head: ChainHead): Promise<void> {
    await this.#records.storage.transaction([], [this.#records.put(this.#name, head)]);
  }

  /** There is no such log any more. */
  async forget(): Promise<void> {
    await this.#records.storage.transaction([], [this.#records.delete(this.#name)]);
  }
}
