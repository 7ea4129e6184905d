import { type Clock, type Logger, RksError } from "@rk8s/protocol";

import { EtcdFailure } from "./etcd-failure.js";
import type { Members } from "./members.js";
import { type KeyRange, type WatchAnswer, type WatchEvent, watchRequest } from "./messages.js";
import { forgotten } from "../change-log.js";

/** Before a watch is asked for again after it failed; doubled each time. */
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2000;
/** For etcd to confirm that it watches. */
const BEGIN_MS = 1500;

export interface WatchInit {
  readonly range: KeyRange;
  readonly fromRevision: number;
}

export interface WatchPorts {
  readonly members: Members;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** How far a watch has come: of the events at `revision` so many were given, of earlier ones all. */
interface Position {
  revision: number;
  given: number;
}

/**
 * Every event in the range from a revision on, in order and once each, until `signal` is aborted. A connection that breaks
 * is made again, at another member if need be, for as long as it takes.
 * @throws {RksError} CONFLICT when etcd has compacted what comes next; PERMISSION_DENIED.
 */
export async function* watchChanges(
  { range, fromRevision }: WatchInit,
  ports: WatchPorts,
): AsyncGenerator<WatchEvent, void, void> {
  const { members, clock, logger, signal } = ports;
  if (fromRevision < 1) throw forgotten(fromRevision);
  const position: Position = { revision: fromRevision, given: 0 };
  let pauseMs = FIRST_PAUSE_MS;
  while (!signal.aborted) {
    try {
      const request = watchRequest(range, position.revision).finish();
      let repeated = position.given;
      for await (const answer of members.watch(request, { firstMs: BEGIN_MS, signal })) {
        assertGoesOn(answer, position);
        pauseMs = FIRST_PAUSE_MS;
        for (const event of answer.events) {
          const { modRevision } = event.entry;
          if (modRevision === position.revision && repeated > 0) {
            repeated -= 1;
            continue;
          }
          if (modRevision !== position.revision) {
            position.revision = modRevision;
            position.given = 0;
          }
          position.given += 1;
          yield event;
          if (signal.aborted) return;
        }
        advance(position, answer);
        repeated = 0;
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

/** All of the answer was given: what comes next has a higher revision. In a fragment that is not so. */
function advance(position: Position, answer: WatchAnswer): void {
  if (answer.isFragment || answer.isCreated) return;
  // Without events it says how far etcd has come without any; with events it may be ahead of what it still sends.
  const revision = answer.events.length === 0 ? answer.revision : position.revision;
  if (revision < position.revision) return;
  position.revision = revision + 1;
  position.given = 0;
}

/** @throws {EtcdFailure | RksError} when etcd ends the watch */
function assertGoesOn(answer: WatchAnswer, position: Position): void {
  if (!answer.isCanceled) return;
  if (answer.compactRevision > 0) throw forgotten(position.revision);
  const reason = answer.cancelReason;
  const isRefused = reason.includes("permission denied");
  throw new EtcdFailure(
    isRefused ? "refused" : "unwell",
    new RksError(isRefused ? "PERMISSION_DENIED" : "UNAVAILABLE", `etcd ended a watch: ${reason}`, {
      suggestion: "Let the etcd user of the client certificate read the store's prefix.",
    }),
  );
}
