import { RksError } from "@rk8s/protocol";
import type { SealConfig } from "../config/config.js";
import type { Vault } from "../vault/vault.js";
import { readUnsealMaterial, unsealFileOf } from "./unseal-material.js";
import type { VaultFolder } from "./vault-folder.js";

/**
 * How the next start finds the vault: `ready`: what is kept opens it; `unusable`: something is kept that does not, such
 * as the shares from before a rekey; `none`: nothing is kept, people open it.
 */
export type UnattendedStart = "ready" | "unusable" | "none";

/** Look whether what is kept for an unattended start opens the vault, sealed or not. */
export async function unattendedStart(
  seal: SealConfig,
  folder: VaultFolder,
  vault: Pick<Vault, "isOpenedBy">,
): Promise<UnattendedStart> {
  try {
    const material = await readUnsealMaterial(seal, folder);
    if (material === undefined) return "none";
    return (await vault.isOpenedBy(material.shares)) ? "ready" : "unusable";
  } catch (reason) {
    if (reason instanceof RksError && reason.code === "CONFIG_INVALID") return "unusable";
    throw reason;
  }
}

/**
 * What to tell whoever replaced the unseal shares. New shares are never written to the disk by themselves: a rekey may
 * be done to get them off it. So the file of the old ones is left as it is, and said to be of no use any more.
 */
export async function rekeyWarnings(
  seal: SealConfig,
  folder: VaultFolder,
  vault: Pick<Vault, "isOpenedBy">,
): Promise<readonly string[]> {
  if ((await unattendedStart(seal, folder, vault)) !== "unusable") return [];
  const file = unsealFileOf(seal, folder);
  return [
    `"${file}" holds shares that do not open the vault any more: after its next start rks waits, sealed, for ` +
      `\`rks unseal\`. Put enough of the new shares there, as {"keys":["…"],"threshold":N} with mode 0600, or remove it.`,
  ];
}
