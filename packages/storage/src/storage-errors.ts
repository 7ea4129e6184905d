import { RksError } from "@rk8s/protocol";

/** The error of every call on a store that was closed. */
export function storageClosed(): RksError {
  return new RksError("UNAVAILABLE", "the storage is closed", { suggestion: "Open it again." });
}

/** The error of a watch that begins before what is remembered. */
export function forgotten(revision: number): RksError {
  return new RksError("CONFLICT", `changes from revision ${revision} on are no longer remembered`, {
    suggestion: "List again and watch from the revision of that list.",
  });
}

/** The error of what there is no room or no time for. */
export function busy(message: string): RksError {
  return new RksError("BUSY", message, { suggestion: "Try again in a moment." });
}
