import { systemClock } from "@rk8s/host";
import type { CliIo } from "@rk8s/host/cli-io";
import { failure, type Finding, reportFindings } from "@rk8s/host/diagnosis";
import { silentLogger } from "@rk8s/protocol";
import { createQuicTransport } from "@rk8s/quic";
import { walkInstallation } from "../doctor/installation-walk.js";
import { walkService } from "../doctor/service-walk.js";
import { openSocketClient } from "../http/socket-client.js";
import { vaultFolderAt } from "../lifecycle/vault-folder.js";
import { caStatusAnswer, nodeListAnswer, statusAnswer } from "./answers.js";
import { ask } from "./ask.js";
import { readConfigArgument, type Asked } from "./target.js";

export interface DoctorArguments {
  readonly config?: string | undefined;
  readonly json: boolean;
}

/**
 * `rks doctor`: look at the config, at what is on disk and at the rks that runs, and say what to mend.
 * @throws {ReportedFailure} when a check failed.
 */
export async function doctor(args: DoctorArguments, io: CliIo): Promise<void> {
  await reportFindings(examine(args, io), io, args);
}

async function* examine(args: DoctorArguments, io: CliIo): AsyncGenerator<Finding, void, void> {
  const read = await readConfigArgument(args.config, io).catch((reason: unknown) =>
    failure("config", reason),
  );
  if ("check" in read) {
    yield read;
    return;
  }
  const { config, file } = read;
  yield { check: "config", status: "ok", detail: file };
  yield* walkInstallation(config, { nowMs: systemClock.now() });
  const { socket, rootCertificate } = vaultFolderAt(config.vaultFolder);
  const client = openSocketClient(socket, { startCommand: `rks start --config ${file}` });
  const target: Asked = { client, address: socket };
  const ports = { clock: systemClock, logger: silentLogger };
  yield* walkService(
    {
      status: async () => (await ask(target, statusAnswer, "GET", "/v1/rk8s/status")).data,
      nodes: async () => (await ask(target, nodeListAnswer, "GET", "/v1/rk8s/nodes")).data.nodes,
      caWarnings: async () => (await ask(target, caStatusAnswer, "GET", "/v1/rk8s/ca")).data.warnings,
      rootCertificateFile: rootCertificate,
      hasOwnHttps: config.httpTls !== undefined,
    },
    { clock: systemClock, transport: createQuicTransport(ports) },
  );
}
