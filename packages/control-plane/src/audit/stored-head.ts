import { RecordCollection, type Storage } from "@rk8s/storage";
import { z } from "zod";
import type { HeadStore } from "./audit-chain.js";

const headRecord = z.object({ sequence: z.int().min(0), sha256: z.string().regex(/^[0-9a-f]{64}$/) });
const NAME = "cluster";

/** The head of the cluster's audit log behind the barrier: who can write the log cannot forge or roll back this. */
export function storedHead(barrier: Storage): HeadStore {
  const records = new RecordCollection(barrier, "cluster/audit-head/", headRecord);
  return {
    load: async () => (await records.read(NAME))?.record,
    save: async (head) => {
      await barrier.transaction([], [records.put(NAME, head)]);
    },
  };
}
