import { hash as digest } from "node:crypto";
import { type Clock, RksError } from "@rk8s/protocol";
import {
  assembleOcspResponse,
  buildOcspResponseData,
  type Certificate,
  encodeOcspError,
  type OcspCertId,
  type OcspCertStatus,
  type OcspHash,
  type OcspRequest,
  type OcspSingleResponse,
  parseOcspRequest,
  subjectPublicKeyBits,
} from "@rk8s/x509";
import type { CertificateAuthority } from "../certificate-authority.js";
import type { SignatureOptions } from "../signing.js";
import { crlIdOf } from "./crl-signer.js";

const HASHES: readonly OcspHash[] = ["sha1", "sha256", "sha384", "sha512"];

/** An issuer that questions can be about. */
export interface OcspIssuer {
  readonly certificate: Certificate;
  /** Whether it may sign answers and its key is here. */
  readonly maySign: boolean;
}

/** Whose certificates there are, and what is known of them. */
export interface OcspSource<I extends OcspIssuer = OcspIssuer> {
  readonly clock: Clock;
  readonly isEnabled: boolean;
  /** How long an answer holds, milliseconds; 0: it does not say. */
  readonly validityMs: number;
  /** The same array as long as nothing changes. */
  readonly issuers: readonly I[];
  /** Who signs when nobody asks about a known issuer. */
  readonly defaultIssuer: I | undefined;
  signer(
    issuer: I,
  ): Promise<{ readonly authority: CertificateAuthority; readonly options: SignatureOptions }>;
  /** What is known of a certificate of an issuer, see `crlIdOf`. */
  statusOf(serialNumber: string, crlId: string): Promise<OcspCertStatus>;
}

/** An issuer under the hashes that questions name it by. */
interface Named<I> {
  readonly issuer: I;
  readonly crlId: string;
}

/**
 * Answers whether certificates are revoked (RFC 6960), signed by the issuer itself. A certificate whose issuer is not known
 * is `unknown`. Refusals are unsigned, as the RFC has them, and never throw.
 */
export class OcspResponder<I extends OcspIssuer = OcspIssuer> {
  readonly #source: OcspSource<I>;
  /** By hash algorithm and both hashes, of the issuers that they were made of. */
  #named = new Map<string, Named<I>[]>();
  #issuers: readonly I[] | undefined;
  #responderIds = new Map<I, Uint8Array>();

  constructor(source: OcspSource<I>) {
    this.#source = source;
  }

  /** The DER answer to a DER request. */
  async answer(request: Uint8Array): Promise<Uint8Array> {
    if (!this.#source.isEnabled) return encodeOcspError("unauthorized");
    let parsed: OcspRequest;
    try {
      parsed = parseOcspRequest(request);
    } catch {
      return encodeOcspError("malformedRequest");
    }
    if (parsed.unknownCriticalExtensions.length > 0) return encodeOcspError("malformedRequest");
    try {
      return await this.#answer(parsed);
    } catch (error) {
      const { code, retryable } = RksError.from(error);
      if (code === "VAULT_SEALED") throw error;
      return encodeOcspError(retryable ? "tryLater" : "internalError");
    }
  }

  async #answer(request: OcspRequest): Promise<Uint8Array> {
    const asked = request.certIds.map((certId) => ({ certId, named: this.#find(certId) }));
    const known = asked.flatMap(({ named }) => named);
    const signer =
      known.find(({ issuer }) => issuer.maySign)?.issuer ??
      (known.length === 0 ? this.#source.defaultIssuer : undefined);
    if (signer?.maySign !== true) return encodeOcspError("unauthorized");
    const signerCrlId = crlIdOf(signer.certificate);
    const now = this.#source.clock.now();
    const { validityMs } = this.#source;
    const dates = { thisUpdate: now, ...(validityMs === 0 ? {} : { nextUpdate: now + validityMs }) };
    const responses: OcspSingleResponse[] = [];
    for (const { certId, named } of asked) {
      const isOwn = named.some(({ crlId }) => crlId === signerCrlId);
      responses.push(await this.#statusOf(certId, isOwn ? signerCrlId : undefined, dates));
    }
    const { nonce } = request;
    const { authority, options } = await this.#source.signer(signer);
    const data = buildOcspResponseData({
      responderId: { keyHash: this.#responderId(signer) },
      producedAt: now,
      responses,
      ...(nonce === undefined ? {} : { nonce }),
    });
    const algorithm = authority.signatureAlgorithm(options);
    return assembleOcspResponse(data, algorithm, authority.signBytes(data, options), [
      signer.certificate.der,
    ]);
  }

  async #statusOf(
    { der: certId, serialNumber }: OcspCertId,
    crlId: string | undefined,
    dates: { readonly thisUpdate: number; readonly nextUpdate?: number },
  ): Promise<OcspSingleResponse> {
    if (crlId === undefined) return { certId, ...dates, status: "unknown" };
    return { certId, ...dates, ...(await this.#source.statusOf(serialNumber, crlId)) };
  }

  #find({ hash, issuerNameHash, issuerKeyHash }: OcspCertId): readonly Named<I>[] {
    if (hash === undefined) return [];
    const { issuers } = this.#source;
    if (this.#issuers !== issuers) {
      this.#named = nameIssuers(issuers);
      this.#responderIds = new Map();
      this.#issuers = issuers;
    }
    return this.#named.get(keyOf(hash, issuerNameHash, issuerKeyHash)) ?? [];
  }

  #responderId(issuer: I): Uint8Array {
    let keyHash = this.#responderIds.get(issuer);
    if (keyHash === undefined) {
      keyHash = digest("sha1", keyBits(issuer), "buffer");
      this.#responderIds.set(issuer, keyHash);
    }
    return keyHash;
  }
}

function nameIssuers<I extends OcspIssuer>(issuers: readonly I[]): Map<string, Named<I>[]> {
  const named = new Map<string, Named<I>[]>();
  for (const issuer of issuers) {
    const name = issuer.certificate.subject.der;
    const bits = keyBits(issuer);
    const entry = { issuer, crlId: crlIdOf(issuer.certificate) };
    for (const hash of HASHES) {
      const key = keyOf(hash, digest(hash, name, "buffer"), digest(hash, bits, "buffer"));
      named.set(key, [...(named.get(key) ?? []), entry]);
    }
  }
  return named;
}

function keyBits(issuer: OcspIssuer): Uint8Array {
  return subjectPublicKeyBits(issuer.certificate.spki, { code: "CERTIFICATE_INVALID" });
}

function keyOf(hash: OcspHash, nameHash: Uint8Array, keyHash: Uint8Array): string {
  return `${hash}:${Buffer.from(nameHash).toString("latin1")}${Buffer.from(keyHash).toString("latin1")}`;
}
