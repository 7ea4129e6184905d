import type { KeyObject } from "node:crypto";
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

/** Room for one cross-signed successor of the root, nothing below it. */
const ROOT_PATH_LENGTH = 1;
const CROSS_PATH_LENGTH = 0;
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
 * Sign another root's name and key, for as long as both roots live. Undefined when one of them does not live any more:
 * nobody could verify anything by it.
 */
export function crossSign(
  issuer: CertificateAuthority,
  root: Certificate,
  now: number,
): Certificate | undefined {
  const notBefore = Math.max(issuer.certificate.notBefore, root.notBefore);
  const notAfter = Math.min(issuer.certificate.notAfter, root.notAfter);
  if (now >= notAfter) return undefined;
  const cross = issuer.sign({
    subject: root.subject.der,
    spki: root.spki,
    notBefore,
    notAfter,
    extensions: caExtensions(CROSS_PATH_LENGTH),
    subjectKeyId: root.subjectKeyId,
  });
  return parseCertificate(cross.der);
}

function caExtensions(pathLength: number): readonly Uint8Array[] {
  return [encodeBasicConstraints({ isCa: true, pathLength }), encodeKeyUsage(["keyCertSign", "cRLSign"])];
}
