import { dirname, resolve } from "node:path";
import type { CliIo } from "@rk8s/host/cli-io";
import { readConfig } from "../config/config-file.js";
import type { ControlPlaneConfig } from "../config/config.js";
import type { ClusterClient } from "../http/cluster-client.js";
import { openSocketClient } from "../http/socket-client.js";
import { socketPathOf, vaultFolderAt } from "../lifecycle/vault-folder.js";
import { type TargetArguments } from "./flags.js";

const DEFAULT_CONFIG = "config.yaml";

/** Who is asked, wherever it runs. */
export interface Asked {
  readonly client: ClusterClient;
  /** A socket's path, or `https://host:port`. */
  readonly address: string;
}

/** The rks of this host that a command asks. */
export interface Target extends Asked {
  readonly socket: string;
  /** Undefined when only a socket was named. */
  readonly config: ControlPlaneConfig | undefined;
}

/**
 * Find the running rks by `--socket`, `--config` or ./config.yaml.
 * @throws {RksError} CONFIG_INVALID.
 */
export async function findTarget(
  args: Pick<TargetArguments, "config" | "socket">,
  io: CliIo,
  options: { readonly timeoutMs?: number } = {},
): Promise<Target> {
  if (args.socket !== undefined) {
    const socket = resolve(io.cwd, args.socket);
    return { client: openSocketClient(socket, options), address: socket, socket, config: undefined };
  }
  const { config, file } = await readConfigArgument(args.config, io);
  const socket = socketPathOf(config.vaultFolder);
  const client = openSocketClient(socket, { ...options, startCommand: `rks start --config ${file}` });
  return { client, address: socket, socket, config };
}

/** The cluster's audit log of the rks that a command asks. */
export function auditFileOf({ socket }: Pick<Target, "socket">): string {
  return vaultFolderAt(dirname(socket)).audit;
}

/**
 * The config that `--config` names, else ./config.yaml, which stderr then says. Warnings go to stderr when asked for.
 * @throws {RksError} CONFIG_INVALID.
 */
export async function readConfigArgument(
  named: string | undefined,
  io: CliIo,
  options: { readonly warn?: boolean } = {},
): Promise<{ readonly config: ControlPlaneConfig; readonly file: string }> {
  if (named === undefined) io.stderr(`using ./${DEFAULT_CONFIG}\n`);
  const file = named ?? DEFAULT_CONFIG;
  const { config, warnings } = await readConfig(resolve(io.cwd, file));
  if (options.warn === true) for (const warning of warnings) io.stderr(`warning: ${warning}\n`);
  return { config, file };
}
