import { systemClock } from "@rk8s/host";
import type { CliIo } from "@rk8s/host/cli-io";
import { RksError } from "@rk8s/protocol";
import { type PeerArguments, type DeletionArguments } from "./flags.js";
import { printJson } from "./output.js";
import { isNotFound, openPeer, type Peer, type PeerOptions } from "./peer.js";
import { UsageProblem } from "./usage-problem.js";

const WAIT_LOOK_MS = 250;
/** Besides the grace: for the way to the node and back. */
const WAIT_SLACK_MS = 30_000;
const DEFAULT_GRACE_SECONDS = 30;

/** `rkl delete pod NAME` and `rkl pod delete NAME`. */
export async function deletePod(
  args: PeerArguments & DeletionArguments & PeerOptions & { readonly name: string },
  io: CliIo,
): Promise<void> {
  const { name, gracePeriod } = args;
  if (
    gracePeriod !== undefined &&
    !(Number.isInteger(gracePeriod) && gracePeriod >= 0 && gracePeriod <= 3600)
  ) {
    throw new UsageProblem("--grace-period takes whole seconds from 0 to 3600");
  }
  const key = { namespace: args.namespace ?? "default", name };
  await using peer = await openPeer(args, io, args);
  // DeletePod is answered alike whether the pod was there: ask first, so that a mistyped name is noticed.
  await peer.ask({ type: "GetPod", ...key }, "Pod");
  const grace = gracePeriod === undefined ? {} : { gracePeriodSeconds: gracePeriod };
  await peer.ask({ type: "DeletePod", ...key, ...grace }, "Ack");
  if (args.wait)
    await waitUntilGone(peer, key, (gracePeriod ?? DEFAULT_GRACE_SECONDS) * 1000 + WAIT_SLACK_MS);
  if (args.json) printJson(io, { deleted: key });
  else io.stdout(`pod/${name} deleted\n`);
}

async function waitUntilGone(
  peer: Peer,
  key: { namespace: string; name: string },
  limitMs: number,
): Promise<void> {
  const end = systemClock.monotonicMs() + limitMs;
  while (systemClock.monotonicMs() < end) {
    try {
      await peer.ask({ type: "GetPod", ...key }, "Pod");
    } catch (reason) {
      if (isNotFound(reason)) return;
      throw reason;
    }
    await systemClock.sleep(WAIT_LOOK_MS);
  }
  throw new RksError("TIMED_OUT", `pod "${key.name}" was not gone within ${limitMs / 1000} s`, {
    suggestion: "See with `rkl get nodes` whether its node is Ready.",
  });
}
