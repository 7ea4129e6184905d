import { constants } from "node:os";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { createLogger, type LogLevel, printable, systemClock } from "@rk8s/host";
import type { CliIo } from "@rk8s/host/cli-io";
import { RksError, type JoinToken, type Logger } from "@rk8s/protocol";
import type { AgentEvent } from "../agent-events.js";
import { canResume, keepJoinToken } from "../bootstrap/resume.js";
import { dataFolderOf } from "../daemon/data-folder.js";
import { eventText } from "../daemon/event-text.js";
import { RECOVERY_CHOICES, type RecoveryChoice } from "../daemon/recovery-choice.js";
import type { RecoveryInit } from "../daemon/recovery-methods.js";
import { nodeFileOf, openNodeFile } from "../recovery/node-file.js";
import { runDaemon } from "../daemon/run-daemon.js";
import type { AgentIo } from "./agent-io.js";
import { type PeerArguments } from "./flags.js";
import { readJoinToken } from "./join-token-input.js";
import { printJson } from "./output.js";
import { assertTls } from "./peer.js";
import { reportError } from "./report-error.js";
import { UsageProblem } from "./usage-problem.js";

/** A stopped daemon has ended after 10 s, whatever hangs. */
const STOP_LIMIT_MS = 9500;

export interface DaemonArguments extends Omit<PeerArguments, "socket"> {
  readonly nodeName?: string | undefined;
  readonly dataDir?: string | undefined;
  readonly recovery?: RecoveryChoice | undefined;
  readonly sshHostKey?: string | undefined;
  readonly logLevel: LogLevel;
}

/** `rkl pod daemon`: this host's agent in the foreground, until a signal. A second signal ends it at once. */
export async function daemon(args: DaemonArguments, io: AgentIo): Promise<void> {
  assertTls(args, io);
  const dataFolder = resolve(io.cwd, args.dataDir ?? dataFolderOf(io.env));
  const given = args.rksAddress ?? io.env["RKS_ADDRESS"];
  const rksAddress = given || (await openNodeFile(nodeFileOf(dataFolder)).load())?.rksAddress;
  if (rksAddress === undefined) {
    throw new UsageProblem("no control plane is named", "Give --rks-address host:port.");
  }
  const { supervisor } = io;
  const logger = createLogger(
    { level: args.logLevel, format: "text" },
    { write: (line) => io.stderr(line), clock: systemClock },
  );
  const isKnown = existsSync(nodeFileOf(dataFolder));
  const joinToken = await joinTokenUnlessKept({ rksAddress, isKnown }, args, { io, logger });
  const rootCertPath = args.rootCertPath ?? io.env["ROOT_CERT_PATH"];
  io.stderr(
    `${joinToken === undefined ? "back to" : "joining"} rks at ${rksAddress}; data folder ${dataFolder}\n`,
  );
  const stop = new AbortController();
  using _ = watchProcess(stop, args, io);
  await runDaemon(
    {
      rksAddress,
      joinToken,
      rootCertPath:
        rootCertPath === undefined || rootCertPath === "" ? undefined : resolve(io.cwd, rootCertPath),
      nodeName: args.nodeName,
      dataFolder,
      containerPath: io.env["PATH"],
      recovery: recoveryOf(args, io),
      supervisor,
    },
    {
      clock: systemClock,
      logger,
      signal: stop.signal,
      onEvent: (event) => {
        if (event.event === "registered") supervisor?.ready();
        printEvent(event, args, io);
      },
    },
  );
}

/**
 * The join token, kept at once so that a worker after this one need not ask for it: stdin is read only once. Undefined
 * when this worker goes on with what one before it has left.
 */
async function joinTokenUnlessKept(
  { rksAddress, isKnown }: { readonly rksAddress: string; readonly isKnown: boolean },
  args: DaemonArguments,
  { io, logger }: { readonly io: AgentIo; readonly logger: Logger },
): Promise<JoinToken | undefined> {
  const keeping = { stash: io.supervisor?.stash, rksAddress, nodeName: args.nodeName };
  if (await canResume(keeping)) {
    delete io.env["JOIN_TOKEN"];
    return undefined;
  }
  const joinToken = isKnown ? await readJoinTokenIfAny(args, { io, logger }) : await readJoinToken(args, io);
  if (joinToken === undefined) return undefined;
  await keepJoinToken(joinToken, keeping, { logger, clock: systemClock });
  return joinToken;
}

/** A node that was here before may have no token any more: it is used up, and its file was removed. */
async function readJoinTokenIfAny(
  args: DaemonArguments,
  { io, logger }: { readonly io: AgentIo; readonly logger: Logger },
): Promise<JoinToken | undefined> {
  try {
    return await readJoinToken(args, io);
  } catch (reason) {
    if (reason instanceof UsageProblem) return undefined;
    const { code, message } = RksError.from(reason);
    if (code === "JOIN_TOKEN_MALFORMED" || code === "INTERNAL") throw reason;
    logger.warn("Going on without the join token", { reason: message });
    return undefined;
  }
}

function recoveryOf(args: DaemonArguments, io: AgentIo): RecoveryInit {
  const choice = args.recovery ?? (io.env["RKL_RECOVERY"] || "auto");
  const known = RECOVERY_CHOICES.find((one) => one === choice);
  if (known === undefined) {
    throw new UsageProblem(
      `RKL_RECOVERY is "${choice.slice(0, 40)}"`,
      `Set it to one of ${RECOVERY_CHOICES.join(", ")}.`,
    );
  }
  const sshHostKeyPath = args.sshHostKey ?? io.env["RKL_SSH_HOST_KEY"];
  return {
    choice: known,
    sshHostKeyPath: sshHostKeyPath ? resolve(io.cwd, sshHostKeyPath) : undefined,
    tcti: io.env["TPM2TOOLS_TCTI"] || undefined,
  };
}

function printEvent(event: AgentEvent, args: DaemonArguments, io: CliIo): void {
  if (args.json) printJson(io, event);
  else io.stderr(`${printable(eventText(event))}\n`);
}

function watchProcess(stop: AbortController, args: DaemonArguments, io: CliIo): Disposable {
  const watches = [
    io.onTerminate((name) => stopOnce(name, stop, io)),
    io.onCrash((reason) => crash(reason, args, io)),
  ];
  return {
    [Symbol.dispose]() {
      for (const watch of watches) watch[Symbol.dispose]();
    },
  };
}

function stopOnce(name: string, stop: AbortController, io: CliIo): void {
  if (stop.signal.aborted) return io.exit(128 + (constants.signals[name as NodeJS.Signals] ?? 0));
  stop.abort(new RksError("UNAVAILABLE", "the agent is stopping"));
  // The timer alone does not keep the process.
  setTimeout(() => io.exit(0), STOP_LIMIT_MS).unref();
}

function crash(cause: unknown, args: DaemonArguments, io: CliIo): void {
  const error = new RksError("INTERNAL", "an unexpected error ended the agent; pods go on running", {
    cause,
    suggestion: "Start the agent again, and report this with the log around it.",
  });
  io.exit(reportError(error, io, { json: args.json, isDaemon: true }));
}
