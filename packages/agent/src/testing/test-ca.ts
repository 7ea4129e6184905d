import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  type KeyObject,
} from "node:crypto";
import { formatJoinToken, hex, Secret, type Credentials, type JoinToken } from "@rk8s/protocol";
import {
  assembleCertificate,
  buildTbsCertificate,
  encodeBasicConstraints,
  encodeExtendedKeyUsage,
  encodeExtension,
  encodeKeyUsage,
  encodeName,
  encodeSignatureAlgorithm,
  encodeSubjectAlternativeName,
  OID,
  parseCertificate,
  parseCertificateRequest,
} from "@rk8s/x509";

const HOUR_MS = 3_600_000;
const ALGORITHM = encodeSignatureAlgorithm("ecdsa-sha256");

/** What a test certificate says; everything has a default that fits. */
export interface TestLeaf {
  readonly commonName?: string;
  readonly dnsNames?: readonly string[];
  readonly uris?: readonly string[];
  readonly extendedKeyUsage?: readonly string[];
  readonly spki: Uint8Array;
  readonly nowMs: number;
  readonly lifetimeMs?: number;
}

/** A certificate authority for tests; its certificates are real ones. */
export class TestCa {
  readonly root: Uint8Array;
  readonly #key: KeyObject;
  readonly #name: Uint8Array;
  readonly #spki: Uint8Array;
  #serial = 1;

  constructor(init: {
    readonly nowMs: number;
    readonly commonName?: string;
    readonly isCa?: boolean;
    readonly lifetimeMs?: number;
  }) {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    this.#key = privateKey;
    this.#spki = publicKey.export({ format: "der", type: "spki" });
    this.#name = encodeName([{ type: OID.commonName, value: init.commonName ?? "test root" }]);
    const isCa = init.isCa ?? true;
    this.root = this.#sign({
      subject: this.#name,
      spki: this.#spki,
      notBefore: init.nowMs - HOUR_MS,
      notAfter: init.nowMs - HOUR_MS + (init.lifetimeMs ?? 1000 * HOUR_MS),
      extensions: isCa
        ? [
            encodeBasicConstraints({ isCa, pathLength: undefined }),
            encodeKeyUsage(["keyCertSign", "cRLSign"]),
          ]
        : [],
    });
  }

  /** A join token that pins this authority. */
  joinToken(): { readonly token: JoinToken; readonly text: string } {
    const token: JoinToken = {
      id: hex(createHash("sha256").update(this.#spki).digest().subarray(0, 8)),
      seed: new Secret(Uint8Array.from({ length: 32 }, (_, i) => i)),
      rootSpkiSha256: createHash("sha256").update(this.#spki).digest(),
    };
    return { token, text: formatJoinToken(token) };
  }

  /** A server's credentials, with the root at the end of the chain. */
  serverCredentials(leaf: Partial<TestLeaf> & { readonly nowMs: number }): Credentials {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const certificate = this.issue({
      commonName: "rks-cluster",
      dnsNames: ["rks-cluster"],
      extendedKeyUsage: [OID.serverAuth],
      spki: publicKey.export({ format: "der", type: "spki" }),
      ...leaf,
    });
    return {
      certificateChain: [certificate, this.root],
      privateKey: privateKey.export({ format: "der", type: "pkcs8" }),
    };
  }

  /** A client's certificate for the key of a request. */
  signRequest(
    csr: Uint8Array,
    leaf: Partial<TestLeaf> & {
      readonly nowMs: number;
      readonly name: string;
      readonly kind: "node" | "operator";
    },
  ): Uint8Array {
    return this.issue({
      commonName: leaf.name,
      uris: [`spiffe://test.local/${leaf.kind}/${leaf.name}`],
      extendedKeyUsage: [OID.clientAuth],
      spki: parseCertificateRequest(csr).spki,
      ...leaf,
    });
  }

  /** Another authority's name and key, signed by this one. */
  crossSign(other: TestCa): Uint8Array {
    const { notBefore, notAfter } = parseCertificate(this.root);
    return this.#sign({
      subject: other.#name,
      spki: other.#spki,
      notBefore,
      notAfter,
      extensions: [
        encodeBasicConstraints({ isCa: true, pathLength: 0 }),
        encodeKeyUsage(["keyCertSign", "cRLSign"]),
      ],
    });
  }

  issue(leaf: TestLeaf): Uint8Array {
    const { commonName = "x", dnsNames = [], uris = [], extendedKeyUsage = [], lifetimeMs = HOUR_MS } = leaf;
    const names = encodeSubjectAlternativeName({ dnsNames, uris });
    return this.#sign({
      subject: encodeName([{ type: OID.commonName, value: commonName }]),
      spki: leaf.spki,
      notBefore: leaf.nowMs - 60_000,
      notAfter: leaf.nowMs + lifetimeMs,
      extensions: [
        encodeBasicConstraints({ isCa: false, pathLength: undefined }),
        encodeKeyUsage(["digitalSignature"]),
        ...(extendedKeyUsage.length === 0 ? [] : [encodeExtendedKeyUsage(extendedKeyUsage)]),
        encodeExtension({ oid: OID.subjectAltName, critical: false, value: names }),
      ],
    });
  }

  #sign(fields: {
    readonly subject: Uint8Array;
    readonly spki: Uint8Array;
    readonly notBefore: number;
    readonly notAfter: number;
    readonly extensions: readonly Uint8Array[];
  }): Uint8Array {
    const tbs = buildTbsCertificate({
      ...fields,
      serialNumber: Uint8Array.of(0x10, this.#serial++),
      signatureAlgorithm: ALGORITHM,
      issuer: this.#name,
    });
    return assembleCertificate(tbs, ALGORITHM, sign("sha256", tbs, this.#key));
  }
}

/** The public half of a PKCS#8 key. */
export function spkiOf(pkcs8: Uint8Array): Uint8Array {
  const key = createPrivateKey({ key: Buffer.from(pkcs8), format: "der", type: "pkcs8" });
  return createPublicKey(key).export({ format: "der", type: "spki" });
}
