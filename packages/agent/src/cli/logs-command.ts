import { systemClock } from "@rk8s/host";
import type { CliIo } from "@rk8s/host/cli-io";
import type { LogArguments } from "./flags.js";
import { assertAnswer, LIMITS, MessageStream, RksError, withDeadline, type RksMessage } from "@rk8s/protocol";
import { LineSplitter } from "./line-splitter.js";
import { printJson } from "./output.js";
import { openPeer, type Peer, type PeerOptions } from "./peer.js";
import { UsageProblem } from "./usage-problem.js";

/** `rkl logs POD`: with `-f` until the pod ends or the command is interrupted, which is no failure. */
export async function logs(args: LogArguments & PeerOptions, io: CliIo): Promise<void> {
  const { tail } = args;
  if (tail !== undefined && !(Number.isInteger(tail) && tail >= 0 && tail <= 1_000_000)) {
    throw new UsageProblem("--tail takes a number of lines from 0 to 1000000");
  }
  const interrupted = new AbortController();
  const { signal } = interrupted;
  const interrupt = (): void => interrupted.abort(new RksError("UNAVAILABLE", "interrupted"));
  const watches = [io.onTerminate(interrupt), io.onStdoutClosed(interrupt)];
  try {
    await using peer = await openPeer(args, io, { ...args, signal });
    await printLogs(peer, args, io, signal);
  } catch (reason) {
    if (!signal.aborted) throw reason;
  } finally {
    for (const watch of watches) watch[Symbol.dispose]();
  }
}

async function printLogs(peer: Peer, args: LogArguments, io: CliIo, signal: AbortSignal): Promise<void> {
  const stream = new MessageStream(await peer.openStream({ signal }));
  try {
    const container = await askForLogs(stream, args, signal);
    const namespace = args.namespace ?? "default";
    const lines: string[] = [];
    const decoder = new TextDecoder();
    const splitter = new LineSplitter((line) => {
      if (args.follow) printJson(io, { container, line });
      else lines.push(line);
    });
    for (;;) {
      const received = await stream.receive({ signal });
      if (received === undefined) break;
      // An error may come instead of the rest.
      if (received.kind === "message") assertAnswer(received.message, "PodLogs");
      else if (args.json) splitter.push(decoder.decode(received.bytes, { stream: true }));
      else io.stdout(decoder.decode(received.bytes, { stream: true }));
    }
    if (!args.json) return io.stdout(decoder.decode());
    splitter.push(decoder.decode());
    splitter.end();
    if (!args.follow) printJson(io, { namespace, pod: args.name, container, lines });
  } catch (reason) {
    stream.reset();
    throw reason;
  }
}

async function askForLogs(stream: MessageStream, args: LogArguments, signal: AbortSignal): Promise<string> {
  const { name, follow, container, tail } = args;
  const message: RksMessage = {
    type: "GetPodLogs",
    namespace: args.namespace ?? "default",
    name,
    follow,
    ...(container === undefined ? {} : { container }),
    ...(tail === undefined ? {} : { tailLines: tail }),
  };
  return withDeadline(
    async (inner) => {
      await stream.send(message, { signal: inner });
      stream.end();
      const answer = await stream.receiveMessage({ signal: inner });
      return assertAnswer(answer.message, "PodLogs").container;
    },
    {
      clock: systemClock,
      timeoutMs: LIMITS.requestTimeoutMs,
      attempt: "GetPodLogs was not answered",
      signal,
    },
  );
}
