import { createPrivateKey, createPublicKey, type KeyObject, randomBytes, sign } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Credentials } from "@rk8s/protocol";
import {
  assembleCertificate,
  buildTbsCertificate,
  decodePem,
  decodePemCertificates,
  encodeBasicConstraints,
  encodeExtendedKeyUsage,
  encodeExtension,
  encodeKeyUsage,
  encodeName,
  encodePem,
  encodeSignatureAlgorithm,
  encodeSubjectAlternativeName,
  OID,
  parseCertificate,
  parseCertificateRequest,
} from "@rk8s/x509";
import type { Cluster } from "./cluster.js";
import { aKey, type RawKey } from "./raw-request.js";

const HOUR_MS = 3_600_000;
const ALGORITHM = encodeSignatureAlgorithm("ecdsa-sha256");

/** What a forged leaf says. */
export interface ForgedLeaf {
  readonly commonName: string;
  readonly dnsNames?: readonly string[];
  readonly uris?: readonly string[];
  readonly extendedKeyUsage?: readonly string[];
  readonly key?: RawKey;
  readonly lifetimeMs?: number;
}

/** Signs any certificate with a CA's key: a foreign one's, or the cluster's own stolen one. */
export class Forger {
  /** DER. */
  readonly root: Uint8Array;
  readonly #key: KeyObject;

  private constructor(root: Uint8Array, key: KeyObject) {
    this.root = root;
    this.#key = key;
  }

  /** A CA that nobody asked for, under any name. */
  static foreign(commonName: string): Forger {
    const key = aKey();
    const name = encodeName([{ type: OID.commonName, value: commonName }]);
    const root = issue(key.privateKey, {
      issuer: name,
      subject: name,
      spki: key.spki,
      lifetimeMs: HOUR_MS,
      extensions: [
        encodeBasicConstraints({ isCa: true, pathLength: undefined }),
        encodeKeyUsage(["keyCertSign", "cRLSign"]),
      ],
    });
    return new Forger(root, key.privateKey);
  }

  /** The CA of a cluster that was made with `keep_dangerous_files`. */
  static async ofCluster(cluster: Cluster): Promise<Forger> {
    const [root] = decodePemCertificates(await readFile(cluster.rootCertPath));
    const pem = await readFile(join(cluster.vaultFolder, "root.key"));
    return new Forger(root!, createPrivateKey(pem));
  }

  /** SubjectPublicKeyInfo (DER) of the CA: what a join token pins. */
  get spki(): Uint8Array {
    return createPublicKey(this.#key).export({ format: "der", type: "spki" });
  }

  /** An intermediate authority of this CA, with its key. */
  intermediate(commonName: string): { readonly certificate: Uint8Array; readonly key: RawKey } {
    const key = aKey();
    const subject = encodeName([{ type: OID.commonName, value: commonName }]);
    return { certificate: this.#signIntermediate(subject, key.spki, HOUR_MS / 2), key };
  }

  /** What this CA, as an offline root, makes of a request (PEM): the intermediate and the root, PEM. */
  signRequest(csr: string, lifetimeMs = HOUR_MS / 2): string {
    const { subject, spki } = parseCertificateRequest(decodePem(csr)[0]!.der);
    return [this.#signIntermediate(subject.der, spki, lifetimeMs), this.root]
      .map((der) => encodePem("CERTIFICATE", der))
      .join("");
  }

  #signIntermediate(subject: Uint8Array, spki: Uint8Array, lifetimeMs: number): Uint8Array {
    return issue(this.#key, {
      issuer: parseCertificate(this.root).subject.der,
      subject,
      spki,
      lifetimeMs,
      extensions: [
        encodeBasicConstraints({ isCa: true, pathLength: 0 }),
        encodeKeyUsage(["keyCertSign", "cRLSign"]),
      ],
    });
  }

  /** A leaf with its key, the root behind it. */
  credentials(leaf: ForgedLeaf): Credentials {
    const { commonName, dnsNames = [], uris = [], extendedKeyUsage = [], key = aKey() } = leaf;
    const names = encodeSubjectAlternativeName({ dnsNames, uris });
    const certificate = issue(this.#key, {
      issuer: parseCertificate(this.root).subject.der,
      subject: encodeName([{ type: OID.commonName, value: commonName }]),
      spki: key.spki,
      lifetimeMs: leaf.lifetimeMs ?? HOUR_MS,
      extensions: [
        encodeBasicConstraints({ isCa: false, pathLength: undefined }),
        encodeKeyUsage(["digitalSignature"]),
        ...(extendedKeyUsage.length === 0 ? [] : [encodeExtendedKeyUsage(extendedKeyUsage)]),
        encodeExtension({ oid: OID.subjectAltName, critical: false, value: names }),
      ],
    });
    return { certificateChain: [certificate, this.root], privateKey: Uint8Array.from(key.pkcs8) };
  }
}

function issue(
  key: KeyObject,
  fields: {
    readonly issuer: Uint8Array;
    readonly subject: Uint8Array;
    readonly spki: Uint8Array;
    readonly lifetimeMs: number;
    readonly extensions: readonly Uint8Array[];
  },
): Uint8Array {
  const serialNumber = Uint8Array.of(0x11, ...randomBytes(15));
  const now = Date.now();
  const dates = { notBefore: now - HOUR_MS, notAfter: now + fields.lifetimeMs };
  const tbs = buildTbsCertificate({ ...fields, ...dates, serialNumber, signatureAlgorithm: ALGORITHM });
  return assembleCertificate(tbs, ALGORITHM, sign("sha256", tbs, key));
}
