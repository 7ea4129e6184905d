import { X509Certificate } from "node:crypto";
import type { Storage } from "@rk8s/storage";
import type { ClusterCa } from "../cluster-ca.js";
import type { RotationStep } from "../cluster-rotation.js";

/** Take a step of a root rotation, with the request that is pending. */
export async function takeStep(
  ca: ClusterCa,
  storage: Storage,
  step: RotationStep,
  {
    rootTtlSeconds,
    certificates,
  }: { readonly rootTtlSeconds: number; readonly certificates?: string | undefined },
): Promise<void> {
  const pending = await ca.pendingRequest();
  const { comparisons, writes, wipe } = ca.prepareRotation(step, { rootTtlSeconds, certificates, pending });
  const { succeeded } = await storage.transaction(comparisons, writes);
  if (!succeeded) throw new Error("the step was not committed");
  wipe();
  await ca.reload();
}

/** A certificate of the server with what it is presented with, the leaf first. */
export function serverChainOf(ca: ClusterCa, ttlSeconds = 3600): readonly X509Certificate[] {
  const made = ca.prepareServerCertificate({ dnsNames: [], ipAddresses: [], ttlSeconds });
  made.privateKey.fill(0);
  return [made.certificate, ...made.chain].map((der) => new X509Certificate(der));
}

/** Whether the chain leads to this root by names, keys and path lengths; taking issuers as they come. */
export function verifies(chain: readonly X509Certificate[], root: Uint8Array): boolean {
  const anchor = new X509Certificate(root);
  let [at] = chain;
  for (const issuer of [...chain.slice(1), anchor]) {
    if (at === undefined) return false;
    if (at.checkIssued(anchor) && at.verify(anchor.publicKey)) return true;
    if (!at.checkIssued(issuer) || !at.verify(issuer.publicKey)) return false;
    at = issuer;
  }
  return false;
}
