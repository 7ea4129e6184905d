// oxlint-disable-next-line import/no-unassigned-import -- @peculiar/x509 needs it to be loaded first
import "reflect-metadata";
import { webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";
import type { Credentials } from "@rk8s/protocol";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const HOUR = 3_600_000;

export interface LeafOptions {
  readonly name?: string;
  readonly usage?: "server" | "client" | "none";
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

/** A root that issues certificates for tests, by an implementation that is not ours. */
export class TestCa {
  readonly root: Uint8Array;
  readonly #certificate: x509.X509Certificate;
  readonly #keys: webcrypto.CryptoKeyPair;

  static async create(name = "CN=Test Root"): Promise<TestCa> {
    x509.cryptoProvider.set(webcrypto);
    const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: "01",
      name,
      notBefore: new Date(Date.now() - HOUR),
      notAfter: new Date(Date.now() + 24 * HOUR),
      signingAlgorithm: ALGORITHM,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      ],
    });
    return new TestCa(certificate, keys);
  }

  private constructor(certificate: x509.X509Certificate, keys: webcrypto.CryptoKeyPair) {
    this.#certificate = certificate;
    this.#keys = keys;
    this.root = new Uint8Array(certificate.rawData);
  }

  /** Issue a certificate with a new key. The chain ends with the root, as in a cluster. */
  async issue(options: LeafOptions = {}): Promise<Credentials> {
    const { name = "rks-cluster", usage = "server" } = options;
    const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
    const usages = { server: "1.3.6.1.5.5.7.3.1", client: "1.3.6.1.5.5.7.3.2", none: undefined };
    const oid = usages[usage];
    const leaf = await x509.X509CertificateGenerator.create({
      serialNumber: Buffer.from(webcrypto.getRandomValues(new Uint8Array(8))).toString("hex"),
      subject: `CN=${name}`,
      issuer: this.#certificate.subject,
      notBefore: options.notBefore ?? new Date(Date.now() - HOUR),
      notAfter: options.notAfter ?? new Date(Date.now() + HOUR),
      signingAlgorithm: ALGORITHM,
      signingKey: this.#keys.privateKey,
      publicKey: keys.publicKey,
      extensions: [
        new x509.BasicConstraintsExtension(false),
        new x509.SubjectAlternativeNameExtension([{ type: "dns", value: name }]),
        ...(oid === undefined ? [] : [new x509.ExtendedKeyUsageExtension([oid])]),
      ],
    });
    const pkcs8 = await webcrypto.subtle.exportKey("pkcs8", keys.privateKey);
    return { certificateChain: [new Uint8Array(leaf.rawData), this.root], privateKey: new Uint8Array(pkcs8) };
  }
}

/** The same credentials with a key of their own, as a transport wipes the one it gets. */
export function copyOf(credentials: Credentials): Credentials {
  return { certificateChain: credentials.certificateChain, privateKey: credentials.privateKey.slice() };
}
