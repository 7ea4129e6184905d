import { once } from "node:events";
import { createLogger, type LogFormat, type LogLevel, systemClock } from "@rk8s/host";
import type { CliIo } from "@rk8s/host/cli-io";
import { type Logger, RksError } from "@rk8s/protocol";
import type { ControlPlaneConfig } from "../config/config.js";
import { type ControlPlane, createControlPlane } from "../control-plane.js";
import type { LineWriter } from "../vault/audit/audit-device.js";
import { printHint, printJson } from "./output.js";
import { readConfigArgument } from "./target.js";

export interface StartArguments {
  readonly config?: string | undefined;
  readonly json: boolean;
  readonly "log-level": LogLevel;
  readonly "log-format": LogFormat;
}

/**
 * `rks start`: run the control plane until the process is told to end. A hang-up makes it read its files again.
 * @throws {RksError} VAULT_NOT_INITIALIZED, ALREADY_RUNNING, CONFIG_INVALID, and what `createControlPlane` throws.
 */
export async function start(args: StartArguments, io: CliIo): Promise<void> {
  const { config, file } = await readConfigArgument(args.config, io, { warn: true });
  const logger = createLogger(
    { level: args["log-level"], format: args["log-format"] },
    { clock: systemClock, write: (line) => io.stderr(line) },
  );
  const stop = new AbortController();
  let running: ControlPlane | undefined;
  const signals = io.onTerminate(
    (name) => {
      logger.info("Stopping", { signal: name });
      stop.abort(new RksError("UNAVAILABLE", "rks is stopping"));
    },
    { onHangUp: () => void running?.reload() },
  );
  const said = new AbortController();
  try {
    await using controlPlane = await open(config, file, { logger, stdout: linesAfter(said.signal, io) });
    running = controlPlane;
    if (controlPlane.sealed) {
      io.stderr("sealed: nodes are served once the vault is open\n");
      printHint(io, `open it with \`rks unseal --config ${file}\``);
    }
    const announced = announce(controlPlane, { json: args.json, signal: stop.signal }, io).finally(() =>
      said.abort(),
    );
    await controlPlane.run(stop.signal);
    await announced;
  } finally {
    said.abort();
    signals[Symbol.dispose]();
  }
}

interface OpenPorts {
  readonly logger: Logger;
  readonly stdout: LineWriter;
}

/** Lines of audit devices on stdout: they follow the one line that says where rks serves. */
function linesAfter(said: AbortSignal, io: CliIo): LineWriter {
  return {
    write: async (lines) => {
      if (!said.aborted) await once(said, "abort");
      await io.writeStdout(lines);
    },
  };
}

async function open(config: ControlPlaneConfig, file: string, ports: OpenPorts): Promise<ControlPlane> {
  try {
    return await createControlPlane(config, { clock: systemClock, ...ports });
  } catch (error) {
    if (!(error instanceof RksError) || error.code !== "VAULT_NOT_INITIALIZED") throw error;
    throw new RksError(error.code, error.message, {
      cause: error,
      suggestion: `Run \`rks gen certs --config ${file}\` first.`,
    });
  }
}

/** Say `ready` when nodes can join, which a sealed vault may put off. */
async function announce(
  controlPlane: ControlPlane,
  options: { readonly json: boolean; readonly signal: AbortSignal },
  io: CliIo,
): Promise<void> {
  const serving = await controlPlane.whenServing(options.signal);
  if (serving === undefined) return;
  if (options.json) printJson(io, { ready: true, ...serving, pid: process.pid });
  const http = serving.http === null ? "" : `, Vault API on ${serving.http}`;
  io.stderr(`ready: QUIC on ${serving.quic}${http}, operators on ${serving.socket}\n`);
}
