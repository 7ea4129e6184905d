import { resolve } from "node:path";
import { systemClock } from "@rk8s/host";
import type { CliIo } from "@rk8s/host/cli-io";
import {
  request,
  RksError,
  type MessageType,
  type RksMessage,
  type Answer,
  type StreamOpener,
} from "@rk8s/protocol";
import { dataFolderOf } from "../daemon/data-folder.js";
import { agentSocketOf, socketPeer } from "../daemon/socket-peer.js";
import { type PeerArguments } from "./flags.js";
import { readJoinToken } from "./join-token-input.js";
import { UsageProblem } from "./usage-problem.js";

/** Whom a command asks. */
export interface Peer extends StreamOpener, AsyncDisposable {
  /** Ask one thing. @throws {RksError} the peer's error, TIMED_OUT, UNREACHABLE … */
  ask<T extends MessageType>(message: RksMessage, expected: T): Promise<Answer<T>["message"]>;
}

export interface PeerOptions {
  /** Without address and socket ask this host's agent instead of refusing. */
  readonly isLocal?: boolean | undefined;
  readonly dataDir?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Find and reach what a command asks, and say on stderr what that is: rks by its socket, rks by address and operator
 * token, or this host's agent.
 * @throws {UsageProblem} when none is named; {RksError} as `connectOperator` and `readJoinToken`.
 */
export async function openPeer(args: PeerArguments, io: CliIo, options: PeerOptions = {}): Promise<Peer> {
  assertTls(args, io);
  const address = args.rksAddress ?? io.env["RKS_ADDRESS"];
  if (args.socket !== undefined) {
    io.stderr(`asking rks by ${args.socket}\n`);
    return withRequests(
      socketPeer(resolve(io.cwd, args.socket), { program: "rks", start: "rks start --config FILE" }),
    );
  }
  if (address !== undefined && address !== "") return openOperator(address, args, io, options);
  if (options.isLocal !== true) {
    throw new UsageProblem(
      "no control plane is named",
      "Give --rks-address and --join-token-file, or --socket on the host of rks.",
    );
  }
  const socket = agentSocketOf(resolve(io.cwd, options.dataDir ?? dataFolderOf(io.env)));
  io.stderr(`asking this host's agent by ${socket}\n`);
  return withRequests(socketPeer(socket, { program: "rkl", start: "rkl pod daemon" }));
}

/** Refuse to go without TLS. @throws {UsageProblem}. */
export function assertTls(args: Pick<PeerArguments, "enableTls">, io: CliIo): void {
  const fromEnv = io.env["ENABLE_TLS"]?.toLowerCase();
  const isOff =
    args.enableTls === undefined ? ["false", "0", "no", "off"].includes(fromEnv ?? "") : !args.enableTls;
  if (isOff) throw new UsageProblem("TLS cannot be turned off", "Leave --enable-tls and ENABLE_TLS out.");
}

async function openOperator(
  address: string,
  args: PeerArguments,
  io: CliIo,
  options: PeerOptions,
): Promise<Peer> {
  const joinToken = await readJoinToken(args, io);
  io.stderr(`asking rks at ${address}\n`);
  const { connectOperator } = await import("../session/connect-operator.js");
  const rootCertPath = args.rootCertPath ?? io.env["ROOT_CERT_PATH"];
  const connection = await connectOperator({
    rksAddress: address,
    joinToken,
    rootCertPath:
      rootCertPath === undefined || rootCertPath === "" ? undefined : resolve(io.cwd, rootCertPath),
    signal: options.signal,
  });
  return withRequests(connection, async () => connection[Symbol.asyncDispose]());
}

function withRequests(
  opener: StreamOpener,
  dispose: () => Promise<void> = async () => Promise.resolve(),
): Peer {
  return {
    openStream: async (options) => opener.openStream(options),
    ask: async (message, expected) =>
      (await request(opener, message, expected, { clock: systemClock })).message,
    [Symbol.asyncDispose]: dispose,
  };
}

/** The error as it is when there is one, for commands where a missing object is an answer. */
export function isNotFound(reason: unknown): boolean {
  return reason instanceof RksError && reason.code === "NOT_FOUND";
}
