import { type Clock, type Logger, RksError } from "@rk8s/protocol";

import type { Budget } from "./budget.js";
import { EtcdFailure } from "./etcd-failure.js";
import type { Members } from "./members.js";
import {
  type KeyRange,
  RANGE,
  rangeRequest,
  type WatchAnswer,
  type WatchEvent,
  watchRequest,
} from "./messages.js";
import { WatchPosition } from "./watch-position.js";
import { forgotten } from "../storage-errors.js";

/** Before a watch is asked for again after it failed; doubled each time. */
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2000;
/** For etcd to confirm that it watches. */
const BEGIN_MS = 1500;

export interface WatchInit {
  readonly range: KeyRange;
  readonly fromRevision: number;
  readonly newBudget: () => Budget;
}

export interface WatchPorts {
  readonly members: Members;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Every event in the range from a revision on, in order and once each, until `signal` is aborted. A connection that breaks
 * is made again, at another member if need be, for as long as it takes.
 * @throws {RksError} CONFLICT when etcd has compacted what comes next; PERMISSION_DENIED.
 */
export async function* watchChanges(
  { range, fromRevision, newBudget }: WatchInit,
  ports: WatchPorts,
): AsyncGenerator<WatchEvent, void, void> {
  const { members, clock, logger, signal } = ports;
  if (fromRevision < 1) throw forgotten(fromRevision);
  const position = new WatchPosition(fromRevision);
  let pauseMs = FIRST_PAUSE_MS;
  while (!signal.aborted) {
    try {
      position.begin();
      const request = watchRequest(range, position.revision).finish();
      for await (const answer of members.watch(request, { firstMs: BEGIN_MS, signal })) {
        assertGoesOn(answer, position.revision);
        if (answer.isCreated && position.revision <= answer.revision) {
          await assertRemembered(members, range, { revision: position.revision, budget: newBudget() });
        }
        pauseMs = FIRST_PAUSE_MS;
        for (const event of answer.events) {
          if (!position.take(event)) continue;
          yield event;
          if (signal.aborted) return;
        }
        position.finish(answer);
      }
    } catch (reason) {
      if (!(reason instanceof EtcdFailure)) throw reason;
      if (reason.isFinal) throw reason.error;
      logger.debug("A watch of the store ended and is begun again", { reason: reason.message });
    }
    await clock.sleep(pauseMs, { signal }).catch(() => undefined);
    pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
  }
}

/**
 * etcd watches from the very revision that it compacted to, but has forgotten what was deleted at it (3.4). So the revision
 * before must still be there.
 * @throws {EtcdFailure} CONFLICT, or that the store cannot be asked.
 */
async function assertRemembered(
  members: Members,
  range: KeyRange,
  { revision, budget }: { readonly revision: number; readonly budget: Budget },
): Promise<void> {
  if (revision === 1) return;
  const request = rangeRequest(range, { limit: 1, keysOnly: true, revision: revision - 1 });
  try {
    await members.repeatedly(RANGE, request.finish(), budget);
  } catch (reason) {
    throw reason instanceof EtcdFailure ? reason : new EtcdFailure("unwell", RksError.from(reason));
  }
}

/** @throws {EtcdFailure | RksError} when etcd ends the watch */
function assertGoesOn(answer: WatchAnswer, revision: number): void {
  if (!answer.isCanceled) return;
  if (answer.compactRevision > 0) throw forgotten(revision);
  const reason = answer.cancelReason;
  const isRefused = reason.includes("permission denied");
  throw new EtcdFailure(
    isRefused ? "refused" : "unwell",
    new RksError(isRefused ? "PERMISSION_DENIED" : "UNAVAILABLE", `etcd ended a watch: ${reason}`, {
      suggestion: "Let the etcd user of the client certificate read the store's prefix.",
    }),
  );
}
