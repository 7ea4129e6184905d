import type { RksError } from "@rk8s/protocol";

import { EtcdFailure, type FailureKind } from "./etcd-failure.js";
import type { Member } from "./member.js";
import { RANGE } from "./messages.js";

/** Failures with which etcd itself has answered: whoever asked and it know each other. */
const ANSWERED: ReadonlySet<FailureKind> = new Set(["refused", "too-large", "unwell"]);

/** Ask a member once, and give why no answer of etcd came; undefined: one came, whatever it said. */
export async function refusalOf(
  member: Member,
  probe: Buffer,
  timeoutMs: number,
): Promise<RksError | undefined> {
  try {
    await member.unary(RANGE, probe, timeoutMs);
    return undefined;
  } catch (reason) {
    if (!(reason instanceof EtcdFailure)) throw reason;
    return ANSWERED.has(reason.kind) ? undefined : errorOf(member, reason);
  }
}

/** What a failure of this member means: of a connection that could not be made gRPC does not say why. */
export async function errorOf(member: Member, { kind, error }: EtcdFailure): Promise<RksError> {
  return kind === "disconnected" ? ((await member.diagnose()) ?? error) : error;
}
