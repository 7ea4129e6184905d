import { systemClock } from "@rk8s/host";
import type { CliIo } from "@rk8s/host/cli-io";
import { RksError } from "@rk8s/protocol";
import { initializeControlPlane } from "../initialize-control-plane.js";
import type { InitializationResult } from "../lifecycle/initialize.js";
import { printHint, printJson } from "./output.js";
import { readConfigArgument } from "./target.js";

export interface GenCertsArguments {
  readonly file?: string | undefined;
  readonly config?: string | undefined;
  readonly json: boolean;
}

/**
 * `rks gen certs`: initialise the vault of a config, once; with an offline root in two goes, the first of which prints what
 * the root has to sign.
 * @throws {RksError} USAGE_INVALID, CONFIG_INVALID, CERTIFICATE_INVALID, ALREADY_RUNNING, STORAGE_FULL, STORAGE_UNWRITABLE.
 */
export async function genCerts(args: GenCertsArguments, io: CliIo): Promise<void> {
  if (args.file !== undefined && args.config !== undefined) {
    throw new RksError("USAGE_INVALID", "the config file is given twice", {
      suggestion: "Give it with --config or by itself.",
    });
  }
  const { config, file } = await readConfigArgument(args.config ?? args.file, io, { warn: true });
  const result = await initializeControlPlane(config, { clock: systemClock });
  if (result.waiting !== undefined) {
    const { request, requestFile, certificatesFile } = result.waiting;
    const { initialized } = result;
    if (args.json) printJson(io, { initialized, vaultFolder: config.vaultFolder, ...result.waiting });
    else io.stdout(request);
    io.stderr(`waiting for the offline root: ${config.vaultFolder} is not initialised yet\n`);
    printHint(
      io,
      `let the root sign ${requestFile}, put intermediate and root into ${certificatesFile}, then run this command again`,
    );
    return;
  }
  if (args.json) printJson(io, documentOf(result, config.vaultFolder));
  else if (result.initialized) for (const path of result.files) io.stdout(`${path}\n`);
  if (!result.initialized) {
    io.stderr(`already initialised: ${config.vaultFolder} is left as it is\n`);
    return;
  }
  io.stderr(`initialised ${config.vaultFolder}\n`);
  for (const hint of hintsFor(result)) printHint(io, hint);
  printHint(io, `next: rks start --config ${file}`);
}

function documentOf(result: InitializationResult, vaultFolder: string): object {
  return {
    initialized: result.initialized,
    vaultFolder,
    rootCertPath: result.rootCertificateFile,
    files: result.files,
  };
}

function hintsFor({ unsealMaterial, dangerousFiles }: InitializationResult): string[] {
  return [
    `${unsealMaterial} opens the vault: keep a copy off this host, and move the original off as well unless rks must start unattended`,
    ...dangerousFiles.map(
      (path) => `${path} gives whoever reads it the whole cluster: move it to a safe place`,
    ),
  ];
}
