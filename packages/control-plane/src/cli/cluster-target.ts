import type { CliIo } from "@rk8s/host/cli-io";
import { RksError } from "@rk8s/protocol";
import type { ControlPlaneConfig } from "../config/config.js";
import { clusterOverHttps } from "../http/cluster-client.js";
import type { ClusterArguments } from "./flags.js";
import { httpsAddress, httpsTarget, tokenToSend, withoutToken } from "./https-target.js";
import { type Asked, findTarget } from "./target.js";

/** The cluster that an operator asks. */
export interface ClusterTarget extends Asked {
  /** Whether it may be another host: paths that it tells are that one's. */
  readonly isOverHttps: boolean;
  /** Of the rks of this host; undefined over HTTPS and when only a socket was named. */
  readonly config: ControlPlaneConfig | undefined;
}

/**
 * Find the cluster: over HTTPS with a token when VAULT_ADDR is set and neither `--config` nor `--socket` is given, which
 * stderr then says; else by the socket, which needs no token.
 * @throws {RksError} CONFIG_INVALID; INPUT_INVALID for a file without a token; USAGE_INVALID for a token for the socket.
 */
export async function findCluster(
  args: Pick<ClusterArguments, "config" | "socket" | "token-file">,
  io: CliIo,
): Promise<ClusterTarget> {
  const address = httpsAddress(args, io);
  if (address === undefined) return onSocket(args, io);
  const token = await tokenToSend(args["token-file"], true, io);
  const { tls, timeoutMs } = await httpsTarget(io);
  const client = clusterOverHttps(address, tls, { token, timeoutMs });
  io.stderr(`asking ${address}\n`);
  const asking: Asked["client"] =
    token === undefined ? { request: (...call) => withoutToken(() => client.request(...call)) } : client;
  return { client: asking, address, isOverHttps: true, config: undefined };
}

async function onSocket(
  args: Pick<ClusterArguments, "config" | "socket" | "token-file">,
  io: CliIo,
): Promise<ClusterTarget> {
  if (args["token-file"] !== undefined) {
    throw new RksError(
      "USAGE_INVALID",
      "--token-file is for an address: whoever may open the socket is an operator",
      {
        suggestion: "Set VAULT_ADDR to https://host:port, or leave --token-file out.",
      },
    );
  }
  return { ...(await findTarget(args, io)), isOverHttps: false };
}
