import type { KeyObject } from "node:crypto";
import { RksError } from "@rk8s/protocol";
import {
  type Certificate,
  encodeBasicConstraints,
  encodeKeyUsage,
  encodeName,
  OID,
  parseCertificate,
} from "@rk8s/x509";
import { type CertificateAuthority, selfSign } from "./certificate-authority.js";
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
  { notAfter }: Certificate,
  now: number,
  { isIntermediate }: { readonly isIntermediate: boolean },
): void {
  if (now < notAfter) return;
  const [what, suggestion] = isIntermediate
    ? [
        "intermediate",
        "Let the root sign intermediate.csr of the vault folder, put intermediate.pem beside it, and start rks again.",
      ]
    : [
        "root",
        "Set certificates.root_rotation to auto and start rks again; then `rks node rejoin NAME` for each node.",
      ];
  const date = new Date(notAfter).toISOString();
  throw new RksError("CERTIFICATE_EXPIRED", `the cluster's ${what} certificate expired at ${date}`, {
    suggestion,
  });
}

function caExtensions(pathLength: number): readonly Uint8Array[] {
  return [encodeBasicConstraints({ isCa: true, pathLength }), encodeKeyUsage(["keyCertSign", "cRLSign"])];
}
