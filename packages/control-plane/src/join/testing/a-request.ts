import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { ALPN, encodeMessage, joinProofTranscript, type Message, parseJoinToken } from "@rk8s/protocol";
import {
  assembleCertificateRequest,
  buildCertificateRequestInfo,
  encodeName,
  encodeSignatureAlgorithm,
  OID,
} from "@rk8s/x509";
import type { SignRequest } from "../join-plan.js";

/** A key pair with its SubjectPublicKeyInfo. */
export interface TestKey {
  readonly privateKey: KeyObject;
  readonly spki: Uint8Array;
}

/** A fresh P-256 key, or RSA of so many bits. */
export function aKey(options: { readonly rsaBits?: number } = {}): TestKey {
  const pair =
    options.rsaBits === undefined
      ? generateKeyPairSync("ec", { namedCurve: "P-256" })
      : generateKeyPairSync("rsa", { modulusLength: options.rsaBits });
  return {
    privateKey: pair.privateKey,
    spki: Uint8Array.from(pair.publicKey.export({ type: "spki", format: "der" })),
  };
}

/** A certification request (DER), signed by `signedBy` when that is to be wrong. */
export function aCsr(
  key: TestKey,
  options: {
    readonly commonName?: string;
    readonly extensions?: readonly Uint8Array[];
    readonly signedBy?: TestKey;
  } = {},
): Uint8Array {
  const { commonName, extensions = [], signedBy = key } = options;
  const subject = encodeName(commonName === undefined ? [] : [{ type: OID.commonName, value: commonName }]);
  const tbs = buildCertificateRequestInfo({ subject, spki: key.spki, extensions });
  const isRsa = key.privateKey.asymmetricKeyType === "rsa";
  const algorithm = encodeSignatureAlgorithm(isRsa ? "rsa-sha256" : "ecdsa-sha256");
  return assembleCertificateRequest(tbs, algorithm, sign("sha256", tbs, signedBy.privateKey));
}

/** Sign bytes as the holder of the join token. */
export function signAsHolder(token: string, bytes: Uint8Array): Uint8Array {
  const prefix = Buffer.from("302e020100300506032b657004220420", "hex");
  const pkcs8 = Buffer.concat([prefix, parseJoinToken(token).seed.reveal()]);
  return sign(null, bytes, createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" }));
}

export interface RequestOptions {
  readonly token: string;
  readonly key?: TestKey;
  readonly csr?: Uint8Array;
  readonly nodeName?: string;
  readonly role?: "node" | "operator";
  readonly remoteHost?: string;
  /** Sent in place of what was signed. */
  readonly instead?: Partial<SignRequest> & { readonly message?: Partial<Message<"CertificateSign">> };
}

/** A well-formed request to join on a connection of its own. */
export function aRequest(options: RequestOptions): SignRequest {
  const { token, nodeName, role = "node", instead = {} } = options;
  const csr = options.csr ?? aCsr(options.key ?? aKey());
  const tokenId = parseJoinToken(token).id;
  const connection = {
    alpn: ALPN,
    hello: encodeMessage({ type: "Hello", versions: [1], features: [], nonce: randomBytes(32) }),
    welcome: new Uint8Array(randomBytes(48)),
    serverLeafSpki: new Uint8Array(randomBytes(91)),
  };
  const transcript = joinProofTranscript({ ...connection, tokenId, csr, nodeName: nodeName ?? "", role });
  const message: Message<"CertificateSign"> = {
    type: "CertificateSign",
    tokenId,
    role,
    csr,
    ...(nodeName === undefined ? {} : { nodeName }),
    proof: signAsHolder(token, transcript),
  };
  return {
    ...connection,
    remoteAddress: { host: options.remoteHost ?? "127.0.0.1", port: 50_000 },
    ...instead,
    message: { ...message, ...instead.message },
  };
}
