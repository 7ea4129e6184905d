import type { Found } from "@rk8s/host/diagnosis";
import type { ControlPlaneConfig } from "../config/config.js";
import { isOpenToOthers } from "../config/secret-file.js";
import { exists } from "../lifecycle/durable-file.js";
import type { VaultFolder } from "../lifecycle/vault-folder.js";

/** A secret that could be kept better. */
interface Exposure {
  readonly detail: string;
  readonly remedy: string;
}

/** Look for secrets in clear: beside the vault, and in the file that has the store's password. Never fails. */
export async function lookAtSecrets(config: ControlPlaneConfig, folder: VaultFolder): Promise<Found<void>> {
  const exposures = [
    ...(await dangerousFiles(folder)),
    ...(await unsealKeys(config, folder)),
    ...(await databaseUrl(config)),
  ];
  if (exposures.length === 0) {
    return { detail: "no unseal keys beside the vault, no root key in clear", value: undefined };
  }
  return {
    status: "warn",
    detail: exposures.map(({ detail }) => detail).join("; "),
    remedy: exposures.map(({ remedy }) => remedy).join(" "),
  };
}

async function dangerousFiles({ rootToken, rootKey }: VaultFolder): Promise<readonly Exposure[]> {
  const found: string[] = [];
  for (const file of [rootToken, rootKey]) if (await exists(file)) found.push(file);
  if (found.length === 0) return [];
  return [
    {
      detail: `in clear on this host: ${found.join(", ")}`,
      remedy: "Move them off this host, and set keep_dangerous_files: false.",
    },
  ];
}

async function unsealKeys({ seal }: ControlPlaneConfig, { keys }: VaultFolder): Promise<readonly Exposure[]> {
  if (seal.type !== "shamir" || !(await exists(keys))) return [];
  return [
    {
      detail: `"${keys}" opens the vault: whoever reads this disk owns the cluster`,
      remedy: "Keep it only if rks must start unattended; else move it off this host.",
    },
  ];
}

async function databaseUrl({ store }: ControlPlaneConfig): Promise<readonly Exposure[]> {
  if (store.type !== "sql" || !("file" in store.url) || !(await isOpenToOthers(store.url.file))) return [];
  const { file } = store.url;
  return [
    {
      detail: `"${file}", the URL of the database, is open to other users`,
      remedy: `Run \`chmod 600 ${file}\`.`,
    },
  ];
}
