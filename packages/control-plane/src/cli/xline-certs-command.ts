import type { CliIo } from "@rk8s/host/cli-io";
import { RksError } from "@rk8s/protocol";
import { storeFilesAnswer } from "./answers.js";
import { ask } from "./ask.js";
import type { TargetArguments } from "./flags.js";
import { printHint, printJson } from "./output.js";
import { findTarget } from "./target.js";

/** Six keys are made for each member. */
const TIMEOUT_MS = 60_000;

export interface XlineCertsArguments extends TargetArguments {
  readonly endpoint?: readonly string[] | undefined;
  readonly rks?: readonly string[] | undefined;
}

/**
 * `rks gen xline-certs`: fresh files for the store's members, or for another host that runs rks, from the rks that runs.
 * @throws {RksError} USAGE_INVALID when nothing is named anywhere, INPUT_INVALID, UNREACHABLE, VAULT_SEALED.
 */
export async function genXlineCerts(args: XlineCertsArguments, io: CliIo): Promise<void> {
  const target = await findTarget(args, io, { timeoutMs: TIMEOUT_MS });
  const { rks: hosts = [] } = args;
  const store = target.config?.store;
  const configured = store?.type === "etcd" && hosts.length === 0 ? store.endpoints : [];
  const endpoints = args.endpoint ?? configured;
  if (endpoints.length === 0 && hosts.length === 0) {
    throw new RksError("USAGE_INVALID", "there is no member of a store to make certificates for", {
      suggestion: "Name one with --endpoint https://store-1:2379, or set xline_config.endpoints.",
    });
  }
  const { data } = await ask(target, storeFilesAnswer, "POST", "/v1/rk8s/storage/certificates", {
    endpoints,
    hosts,
  });
  if (args.json) printJson(io, data);
  else for (const folder of data.folders) io.stdout(`${folder}\n`);
  printHint(io, "copy each folder to its host, readable for the store or rks alone, then remove it here");
}
