import { join } from "node:path";
import { systemClock } from "@rk8s/host";
import type { Secret } from "@rk8s/protocol";
import { memoryStorage } from "@rk8s/storage";
import { anApi, listenerPorts } from "../../http/testing/an-api.js";
import { serveSocket } from "../../http/socket-server.js";
import { openVault } from "../../open-vault.js";
import type { Vault } from "../../vault/vault.js";

/** A vault that is asked by its socket. */
export interface VaultServer extends AsyncDisposable {
  readonly socket: string;
  readonly vault: Vault;
  readonly rootToken: Secret<string>;
  /** Base64: any two of the three open the vault. */
  readonly shares: readonly string[];
}

/** An unsealed vault with all engines and login methods, on the socket `rks.sock` of a folder. */
export async function aVaultServer(folder: string): Promise<VaultServer> {
  const vault = await openVault({ storage: memoryStorage() }, { clock: systemClock });
  const { shares, rootToken } = await vault.init({ shares: 3, threshold: 2 });
  for (const share of shares.slice(0, 2)) await vault.unseal(share);
  const api = anApi({ answer: (request) => vault.answer(request), sealStatus: () => vault.status() });
  const socket = join(folder, "rks.sock");
  const server = await serveSocket({ path: socket, routes: [], api, drainMs: 100 }, listenerPorts());
  return {
    socket,
    vault,
    rootToken,
    shares: shares.map((share) => share.reveal()),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await vault[Symbol.asyncDispose]();
    },
  };
}
