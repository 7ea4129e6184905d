import { systemClock } from "@rk8s/host";
import type { Clock } from "@rk8s/protocol";
import { memoryStorage } from "@rk8s/storage";
import { openVault } from "../../open-vault.js";
import type { JsonObject } from "../../vault/backend.js";
import type { VaultResponse } from "../../vault/request.js";
import type { Vault } from "../../vault/vault.js";

/** An unsealed vault over memory with a PKI engine at `pki/`. */
export interface PkiVault extends AsyncDisposable {
  readonly vault: Vault;
  /** Write below `pki/` as root; the whole answer. */
  readonly write: (path: string, data: object) => Promise<VaultResponse | undefined>;
  /** Write below `pki/` as root; the answer's data. */
  readonly data: (path: string, data: object) => Promise<JsonObject>;
  readonly root: string;
}

/** Make one, and a root in it unless `rootKey` says none. */
export async function aPkiVault(
  init: { readonly rootKey?: "ec" | "rsa" | "ed25519" | "none"; readonly clock?: Clock } = {},
): Promise<PkiVault> {
  const { rootKey = "ec", clock = systemClock } = init;
  const vault = await openVault({ storage: memoryStorage() }, { clock });
  const { shares, rootToken } = await vault.init({ shares: 1, threshold: 1 });
  const [share] = shares;
  if (share === undefined) throw new TypeError("a vault of one share gave none");
  await vault.unseal(share);
  await vault.write(rootToken, "sys/mounts/pki", { type: "pki", config: { max_lease_ttl: "87600h" } });
  const write: PkiVault["write"] = (path, data) =>
    vault.write(rootToken, `pki/${path}`, data as JsonObject).then((answer) => answer ?? undefined);
  const pki: PkiVault = {
    vault,
    write,
    data: async (path, body) => (await write(path, body))?.data ?? {},
    root: rootToken.reveal(),
    [Symbol.asyncDispose]: () => vault[Symbol.asyncDispose](),
  };
  if (rootKey !== "none") {
    await write("root/generate/internal", {
      common_name: "Test Root",
      key_type: rootKey,
      ttl: "43800h",
    });
  }
  return pki;
}
