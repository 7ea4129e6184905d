import { resolve } from "node:path";
import { silentLogger, type JoinToken } from "@rk8s/protocol";
import { systemClock } from "@rk8s/host";
import type { CliIo } from "@rk8s/host/cli-io";
import { type Finding, reportFindings } from "@rk8s/host/diagnosis";
import { dataFolderOf } from "../daemon/data-folder.js";
import { walkHost } from "../doctor/host-walk.js";
import { completePorts } from "../ports.js";
import type { PeerArguments } from "./flags.js";
import { readJoinToken } from "./join-token-input.js";
import { assertTls } from "./peer.js";
import { UsageProblem } from "./usage-problem.js";

export interface DoctorArguments extends Omit<PeerArguments, "socket"> {
  readonly nodeName?: string | undefined;
  readonly dataDir?: string | undefined;
  readonly role: "node" | "operator";
}

/**
 * `rkl doctor`: walk a join step by step without using the token, and look at this host and its agent. Without an
 * address only the host is looked at.
 * @throws {ReportedFailure} when a check failed; {UsageProblem}.
 */
export async function doctor(args: DoctorArguments, io: CliIo): Promise<void> {
  assertTls(args, io);
  const findings = examine(args, io);
  await reportFindings(findings, io, args);
}

async function* examine(args: DoctorArguments, io: CliIo): AsyncGenerator<Finding, void, void> {
  const rksAddress = args.rksAddress ?? io.env["RKS_ADDRESS"];
  if (rksAddress === undefined || rksAddress === "") {
    yield {
      check: "address",
      status: "skip",
      detail: "no control plane is named: give --rks-address to walk a join",
    };
  } else {
    const { walkJoin } = await import("../doctor/join-walk.js");
    const rootCertPath = args.rootCertPath ?? io.env["ROOT_CERT_PATH"];
    const init = {
      joinToken: await tokenOf(args, io),
      rootCertPath:
        rootCertPath === undefined || rootCertPath === "" ? undefined : resolve(io.cwd, rootCertPath),
      nodeName: args.nodeName,
      role: args.role,
    };
    const ports = await completePorts({ logger: silentLogger });
    for (const one of rksAddress.split(",")) yield* walkJoin({ ...init, rksAddress: one }, ports);
  }
  const dataFolder = resolve(io.cwd, args.dataDir ?? dataFolderOf(io.env));
  yield* walkHost({ dataFolder, nowMs: systemClock.now() });
}

/** Undefined when none is given. @throws {RksError} JOIN_TOKEN_MALFORMED, INPUT_INVALID. */
async function tokenOf(args: DoctorArguments, io: CliIo): Promise<JoinToken | undefined> {
  try {
    return await readJoinToken(args, io);
  } catch (reason) {
    if (reason instanceof UsageProblem) return undefined;
    throw reason;
  }
}
