import "reflect-metadata";
import { webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";

x509.cryptoProvider.set(webcrypto as Crypto);
const P256 = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;

/** A certificate with its key, DER and PEM for those who take only that. */
export interface Leaf {
  readonly certificate: Uint8Array;
  readonly privateKey: Uint8Array;
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}

/** A root with a server's and a client's leaf, all P-256. */
export interface BenchmarkPki {
  readonly root: Uint8Array;
  readonly rootPem: string;
  readonly server: Leaf;
  readonly client: Leaf;
}

export const SERVER_NAME = "rks-cluster";

export async function createBenchmarkPki(): Promise<BenchmarkPki> {
  const rootKeys = await webcrypto.subtle.generateKey(P256, true, ["sign", "verify"]);
  const dates = { notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + DAY_MS) };
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    name: "CN=benchmark root",
    keys: rootKeys,
    signingAlgorithm: P256,
    ...dates,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
    ],
  });
  const issue = async (name: string, usage: x509.ExtendedKeyUsage): Promise<Leaf> => {
    const keys = await webcrypto.subtle.generateKey(P256, true, ["sign", "verify"]);
    const certificate = await x509.X509CertificateGenerator.create({
      subject: `CN=${name}`,
      issuer: root.subject,
      signingKey: rootKeys.privateKey,
      publicKey: keys.publicKey,
      signingAlgorithm: P256,
      ...dates,
      extensions: [
        new x509.ExtendedKeyUsageExtension([usage]),
        new x509.SubjectAlternativeNameExtension([{ type: "dns", value: name }]),
      ],
    });
    const privateKey = new Uint8Array(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey));
    return {
      certificate: new Uint8Array(certificate.rawData),
      privateKey,
      certificatePem: certificate.toString("pem"),
      privateKeyPem: x509.PemConverter.encode(privateKey, "PRIVATE KEY"),
    };
  };
  return {
    root: new Uint8Array(root.rawData),
    rootPem: root.toString("pem"),
    server: await issue(SERVER_NAME, x509.ExtendedKeyUsage.serverAuth),
    client: await issue("client", x509.ExtendedKeyUsage.clientAuth),
  };
}
