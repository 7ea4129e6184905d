import { RksError } from "@rk8s/protocol";

import { EtcdFailure } from "./etcd-failure.js";
import { busy } from "../storage-errors.js";

/**
 * The error of what waited for its turn until its time was over, and was not sent. `before`: what the last one before it
 * failed with, which then is the reason; undefined when that one was done.
 */
export function leftWaiting(what: "read" | "transaction", before: unknown): RksError {
  const isFinal = before instanceof EtcdFailure && before.isFinal;
  if (before === undefined || isFinal)
    return busy(`the store is too slow for every ${what} that waits for it`);
  const { message, suggestion } = before instanceof EtcdFailure ? before.error : RksError.from(before);
  return new RksError("UNAVAILABLE", `this ${what} was not sent, the one before it failed: ${message}`, {
    suggestion,
    cause: before,
  });
}
