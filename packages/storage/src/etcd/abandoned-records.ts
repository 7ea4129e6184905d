import type { Budget } from "./budget.js";
import type { Keyspace } from "./keyspace.js";
import type { Members } from "./members.js";
import { RANGE, rangeRequest, TXN, TxnWriter } from "./messages.js";

/** Far longer than any attempt lasts, and than clocks differ. */
const ABANDONED_MS = 24 * 60 * 60 * 1000;
/** Comparisons and writes that etcd takes in one transaction. */
const MAX_AT_ONCE = 100;

/**
 * Delete attempt records that no client can need any more: a client that was killed leaves one. Reading them is also the first
 * thing asked of a store.
 * @throws {EtcdFailure | RksError} when the store cannot be read.
 */
export async function removeAbandonedRecords(
  keyspace: Keyspace,
  members: Members,
  { nowMs, budget }: { readonly nowMs: number; readonly budget: Budget },
): Promise<void> {
  const request = rangeRequest(keyspace.attemptRange(), { limit: 10 * MAX_AT_ONCE }).finish();
  const { entries } = await members.repeatedly(RANGE, request, budget);
  const abandoned = entries
    .filter(({ value }) => nowMs - writtenMs(value) > ABANDONED_MS)
    .slice(0, MAX_AT_ONCE);
  if (abandoned.length === 0) return;
  const transaction = new TxnWriter();
  for (const { key, modRevision } of abandoned) transaction.compare(key, modRevision).delete(key);
  await members.repeatedly(TXN, transaction.finish(), budget);
}

/** A record begins with the time at which it was written; of what is none the time is unknown, and it is left alone. */
function writtenMs(value: Uint8Array): number {
  const [time = ""] = Buffer.from(value).toString("latin1").split(" ", 1);
  return Date.parse(time);
}
