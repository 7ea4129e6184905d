import { decodePemCertificates } from "@rk8s/x509";
import { type ClusterRoots, issuerChain } from "../pki/cluster-roots.js";
import { readStoreCredentials, type StoreCredentials } from "../store/store-credentials.js";
import { pemOf } from "./store-certificates.js";
import type { VaultFolder } from "./vault-folder.js";

/**
 * What rks will show to the members of its store, and trust there, when the root that signs now is the only one: its own
 * certificate without a cross-certificate, and that root. The caller wipes the key.
 * @throws {RksError} CONFIG_INVALID when the vault folder has no such certificate.
 */
export async function futureCredentials(folder: VaultFolder, roots: ClusterRoots): Promise<StoreCredentials> {
  const { certificate, privateKey } = await readStoreCredentials(folder);
  const leaf = decodePemCertificates(certificate).slice(0, 1);
  const active = { ...roots.active, cross: undefined };
  const chain = issuerChain({ ...roots, active, other: undefined }, active.certificate.notBefore);
  return { ca: pemOf([active.certificate.der]), certificate: pemOf([...leaf, ...chain]), privateKey };
}
