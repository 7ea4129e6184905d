import type { KeyObject } from "node:crypto";
import { RksError } from "@rk8s/protocol";
import {
  type Certificate,
  encodeBasicConstraints,
  encodeKeyUsage,
  encodeName,
  nameValues,
  OID,
  parseCertificate,
} from "@rk8s/x509";
import { type CertificateAuthority, selfSign } from "./certificate-authority.js";
import { type ClusterRoots, isOffline } from "./cluster-roots.js";
import { createFastKeyPair } from "./key-pair.js";

/** Room for one cross-signed successor of the root, and for an intermediate that signs for it when it is offline. */
const ROOT_PATH_LENGTH = 2;
const BACKDATE_MS = 3_600_000;

/** A root with its key, in memory only. */
export interface NewRoot {
  readonly certificate: Certificate;
  readonly privateKey: KeyObject;
}

/** Make a self-signed root of the cluster: EC P-256. */
export function makeRoot(init: {
  readonly commonName: string;
  readonly ttlSeconds: number;
  readonly now: number;
}): NewRoot {
  const { privateKey, spki } = createFastKeyPair({ type: "ec", bits: 256 });
  const root = selfSign(privateKey, {
    subject: encodeName([{ type: OID.commonName, value: init.commonName }]),
    spki,
    notBefore: init.now - BACKDATE_MS,
    notAfter: init.now + init.ttlSeconds * 1000,
    extensions: caExtensions(ROOT_PATH_LENGTH),
  });
  return { certificate: parseCertificate(root.der), privateKey };
}

/** Whether a root was made here, as its name says; the key of any other one is kept elsewhere. */
export function isOwnRoot({ subject }: Pick<Certificate, "subject">): boolean {
  const [name, ...others] = nameValues(subject, OID.commonName);
  return others.length === 0 && /^rk8s cluster root( \d+)?$/.test(name ?? "");
}

/**
 * What to do when the time of the root that signs is over, one sentence. It has a next one when rks can make that, or it was
 * prepared before.
 */
export function expiredRootRemedy({ hasNext }: { readonly hasNext: boolean }): string {
  return hasNext
    ? "Set certificates.root_rotation to auto and start rks again; then `rks node rejoin NAME` for each node."
    : "Begin a new cluster: no other root can take the place of an offline one whose time is over.";
}

/** How long a root lives from when it was made, milliseconds: its notBefore lies before that. */
export function rootLifeMs({ notBefore, notAfter }: Certificate): number {
  return notAfter - notBefore - BACKDATE_MS;
}

/**
 * Sign another root's name and key, for as long as both roots live, with room for as many intermediates below it as it
 * has. Undefined when one of them does not live any more: nobody could verify anything by it.
 */
export function crossSign(
  issuer: CertificateAuthority,
  root: Certificate,
  { now, pathLength = 0 }: { readonly now: number; readonly pathLength?: 0 | 1 },
): Certificate | undefined {
  const notBefore = Math.max(issuer.certificate.notBefore, root.notBefore);
  const notAfter = Math.min(issuer.certificate.notAfter, root.notAfter);
  if (now >= notAfter) return undefined;
  const cross = issuer.sign({
    subject: root.subject.der,
    spki: root.spki,
    notBefore,
    notAfter,
    extensions: caExtensions(pathLength),
    subjectKeyId: root.subjectKeyId,
  });
  return parseCertificate(cross.der);
}

/** @throws {RksError} CERTIFICATE_EXPIRED when the time of whoever signs for the cluster is over. */
export function assertIssuerLives(
  issuer: Certificate,
  { active, other }: Pick<ClusterRoots, "active" | "other">,
  now: number,
): void {
  if (now < issuer.notAfter) return;
  const hasNext = !isOffline(active) || (other?.standing === "incoming" && now < other.certificate.notAfter);
  const [what, suggestion] =
    isOffline(active) && now < active.certificate.notAfter
      ? [
          "intermediate",
          "Let the root sign intermediate.csr of the vault folder, put intermediate.pem beside it, and start rks again.",
        ]
      : ["root", expiredRootRemedy({ hasNext })];
  const date = new Date(issuer.notAfter).toISOString();
  throw new RksError("CERTIFICATE_EXPIRED", `the cluster's ${what} certificate expired at ${date}`, {
    suggestion,
  });
}

function caExtensions(pathLength: number): readonly Uint8Array[] {
  return [encodeBasicConstraints({ isCa: true, pathLength }), encodeKeyUsage(["keyCertSign", "cRLSign"])];
}
