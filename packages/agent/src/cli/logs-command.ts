import { systemClock } from "@rk8s/host";
import type { CliIo } from "@rk8s/host/cli-io";
import type { LogArguments } from "./flags.js";
import {
  aborted,
  assertAnswer,
  LIMITS,
  LinkedAbort,
  MessageStream,
  RksError,
  withDeadline,
  type RksMessage,
} from "@rk8s/protocol";
import { LineSplitter } from "./line-splitter.js";
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
    const splitter = new LineSplitter((line) => lines.push(line));
    /** What is to be printed now. */
    const printed = (text: string): string => {
      if (!args.json) return text;
      splitter.push(text);
      if (!args.follow) return "";
      return lines
        .splice(0)
        .map((line) => `${JSON.stringify({ container, line })}\n`)
        .join("");
    };
    for (;;) {
      const received = await stream.receive({ signal });
      if (received === undefined) break;
      // An error may come instead of the rest.
      if (received.kind === "message") assertAnswer(received.message, "PodLogs");
      else await write(printed(decoder.decode(received.bytes, { stream: true })), io, signal);
    }
    await write(printed(decoder.decode()), io, signal);
    if (!args.json) return;
    splitter.end();
    await write(
      args.follow ? printed("") : `${JSON.stringify({ namespace, pod: args.name, container, lines })}\n`,
      io,
      signal,
    );
  } catch (reason) {
    stream.reset();
    throw reason;
  }
}

/** Print at the reader's pace: what is not read stays on the node. @throws the signal's reason, also when the reader is gone. */
async function write(text: string, io: CliIo, signal: AbortSignal): Promise<void> {
  if (text === "") return;
  const written = new LinkedAbort(signal);
  const ended = aborted(written.signal);
  try {
    // That nobody reads any more ends the command by `onStdoutClosed`.
    await Promise.race([io.writeStdout(text).catch(async () => ended), ended]);
  } finally {
    written.abort();
  }
  signal.throwIfAborted();
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
