import { hash as digest } from "node:crypto";
import { RksError } from "@rk8s/protocol";
import {
  assembleOcspResponse,
  buildOcspResponseData,
  encodeOcspError,
  type OcspCertId,
  type OcspHash,
  type OcspRequest,
  type OcspSingleResponse,
  parseOcspRequest,
  subjectPublicKeyBits,
} from "@rk8s/x509";
import type { Issuer, IssuerState } from "../issuer/issuer.js";
import { revocationSigning } from "../issuer/revocation-algorithm.js";
import type { PkiMount } from "../pki-mount.js";
import { crlIdOf } from "./crl-signer.js";

const HASHES: readonly OcspHash[] = ["sha1", "sha256", "sha384", "sha512"];

/** Issuers that questions can be about. */
interface Named {
  readonly issuer: Issuer;
  readonly crlId: string;
}

/**
 * Answers whether certificates are revoked (RFC 6960), signed by the issuer itself. A certificate that is not known is
 * `good` unless it is revoked: roles with `no_store` keep none. Whose issuer is not known is `unknown`. Refusals are
 * unsigned, as the RFC has them, and never throw.
 */
export class OcspResponder {
  readonly #pki: PkiMount;
  /** By hash algorithm and both hashes, of the state that they were made of. */
  #named = new Map<string, Named[]>();
  #state: IssuerState | undefined;
  #responderIds = new Map<string, Uint8Array>();

  constructor(pki: PkiMount) {
    this.#pki = pki;
  }

  /** The DER answer to a DER request. */
  async answer(request: Uint8Array): Promise<Uint8Array> {
    if (this.#pki.crlConfig.settings.ocsp_disable) return encodeOcspError("unauthorized");
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
      known.find(({ issuer }) => maySign(issuer))?.issuer ??
      (known.length === 0 ? this.#pki.issuers.find("default") : undefined);
    if (signer === undefined || !maySign(signer)) return encodeOcspError("unauthorized");
    const signerCrlId = crlIdOf(signer.certificate);
    const now = this.#pki.clock.now();
    const { ocspExpiryMs } = this.#pki.crlConfig;
    const dates = { thisUpdate: now, ...(ocspExpiryMs === 0 ? {} : { nextUpdate: now + ocspExpiryMs }) };
    const responses: OcspSingleResponse[] = [];
    for (const { certId, named } of asked) {
      const isOwn = named.some(({ crlId }) => crlId === signerCrlId);
      responses.push(await this.#statusOf(certId, isOwn ? signerCrlId : undefined, dates));
    }
    const { nonce } = request;
    const authority = await this.#pki.issuers.authority(signer, "ocsp-signing");
    const options = revocationSigning(signer);
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
    const record = await this.#pki.revocations.find(serialNumber);
    // A record of no list waits for its issuer to be found: to be safe it may be this one.
    if (record === undefined || (record.crlId !== crlId && record.crlId !== "")) {
      return { certId, ...dates, status: "good" };
    }
    return { certId, ...dates, status: "revoked", revocationTimeMs: record.revokedAtMs };
  }

  #find({ hash, issuerNameHash, issuerKeyHash }: OcspCertId): readonly Named[] {
    if (hash === undefined) return [];
    const { state } = this.#pki.issuers;
    if (this.#state !== state) {
      this.#named = nameIssuers(state);
      this.#responderIds = new Map();
      this.#state = state;
    }
    return this.#named.get(keyOf(hash, issuerNameHash, issuerKeyHash)) ?? [];
  }

  #responderId(issuer: Issuer): Uint8Array {
    let keyHash = this.#responderIds.get(issuer.id);
    if (keyHash === undefined) {
      keyHash = digest("sha1", keyBits(issuer), "buffer");
      this.#responderIds.set(issuer.id, keyHash);
    }
    return keyHash;
  }
}

function nameIssuers(state: IssuerState): Map<string, Named[]> {
  const named = new Map<string, Named[]>();
  for (const issuer of state.issuers.values()) {
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

function keyBits(issuer: Issuer): Uint8Array {
  return subjectPublicKeyBits(issuer.certificate.spki, { code: "CERTIFICATE_INVALID" });
}

function keyOf(hash: OcspHash, nameHash: Uint8Array, keyHash: Uint8Array): string {
  return `${hash}:${Buffer.from(nameHash).toString("latin1")}${Buffer.from(keyHash).toString("latin1")}`;
}

function maySign(issuer: Issuer): boolean {
  return issuer.keyId !== "" && issuer.usage.includes("ocsp-signing");
}
