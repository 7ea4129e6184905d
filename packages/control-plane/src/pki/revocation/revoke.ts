import { equalBytes, RksError } from "@rk8s/protocol";
import type { Write } from "@rk8s/storage";
import { type Certificate, parseCertificate } from "@rk8s/x509";
import type { Answer, JsonObject } from "../../vault/backend.js";
import { isIssuedBy } from "../issuer/issuer-chain.js";
import type { Issuer } from "../issuer/issuer.js";
import type { PkiMount } from "../pki-mount.js";
import { formatSerialNumber, parseSerialNumber } from "../serial-number.js";
import { crlIdOf, crlSignerFor } from "./crl-signer.js";
import type { RevokedRecord } from "./revoked-record.js";

/** Leases count whole seconds and end when somebody looks. */
const LEASE_SLACK_MS = 5000;

/** A certificate that can be revoked. */
export interface Revocable {
  readonly serialNumber: string;
  readonly certificate: Certificate;
  /** Who signed it, when it is an issuer of the mount. */
  readonly issuer: Issuer | undefined;
  /** What keeps it, when the mount did not know it. */
  readonly writes: readonly Write[];
}

/** The certificate that the mount keeps under a serial number. @throws {RksError} INPUT_INVALID when there is none. */
export async function revocableBySerialNumber(pki: PkiMount, text: string): Promise<Revocable> {
  const serialNumber = parseSerialNumber(text);
  const shown = JSON.stringify(text.slice(0, 80));
  if (serialNumber === undefined) {
    throw new RksError("INPUT_INVALID", `serial_number ${shown} is no serial number`, {
      suggestion: "Give it as the certificate's answer had it: 39:dd:2e:90…",
    });
  }
  assertNoIssuer(pki, serialNumber);
  const record = await pki.certificates.read(serialNumber);
  if (record === undefined) {
    throw new RksError("INPUT_INVALID", `certificate with serial number ${shown} not found`, {
      suggestion:
        "List the certificates with certs; one of a role with no_store can be revoked by its certificate.",
    });
  }
  const certificate = parseCertificate(record.der);
  const issuer = pki.issuers.state.issuers.get(record.issuerId) ?? issuerOf(pki, certificate);
  return { serialNumber, certificate, issuer, writes: [] };
}

/**
 * The certificate that was brought along; one that the mount does not know but an issuer of it signed is kept when it is
 * revoked.
 * @throws {RksError} CERTIFICATE_INVALID; INPUT_INVALID when no issuer of the mount signed it, or another certificate has its
 * serial number.
 */
export async function revocableByCertificate(pki: PkiMount, der: Uint8Array): Promise<Revocable> {
  const certificate = parseCertificate(der);
  const { serialNumber, notAfter: notAfterMs } = certificate;
  assertNoIssuer(pki, serialNumber);
  const record = await pki.certificates.read(serialNumber);
  if (record !== undefined && equalBytes(record.der, der)) {
    const issuer = pki.issuers.state.issuers.get(record.issuerId) ?? issuerOf(pki, certificate);
    return { serialNumber, certificate, issuer, writes: [] };
  }
  const shown = formatSerialNumber(serialNumber);
  if (record !== undefined) {
    throw new RksError("INPUT_INVALID", `another certificate of the mount has the serial number ${shown}`, {
      suggestion: "Revoke that one by its serial_number, or give this one to the mount that issued it.",
    });
  }
  const issuer = issuerOf(pki, certificate);
  if (issuer === undefined || /^0*$/.test(serialNumber)) {
    throw new RksError("INPUT_INVALID", `no issuer of this mount signed certificate ${shown}`, {
      suggestion: "Revoke it in the mount that issued it, or import its issuer first.",
    });
  }
  const writes = pki.certificates.writes(serialNumber, { der, issuerId: issuer.id, role: "", notAfterMs });
  return { serialNumber, certificate, issuer, writes };
}

/** Revoke a certificate and answer with when it was revoked; asked again the answer stays the same. */
export async function revoke(pki: PkiMount, revocable: Revocable): Promise<Answer> {
  const { serialNumber, certificate, issuer } = revocable;
  const existing = await pki.revocations.find(serialNumber);
  if (existing === undefined) {
    const isExpired = certificate.notAfter < pki.clock.now();
    if (isExpired && !pki.crlConfig.settings.allow_expired_cert_revocation) {
      const shown = formatSerialNumber(serialNumber);
      const warning = `certificate with serial number ${shown} is expired already and was not revoked; config/crl allow_expired_cert_revocation=true allows it`;
      return { warnings: [warning] };
    }
  }
  const record =
    existing ??
    (await pki.revocations.revoke({
      serialNumber,
      notAfterMs: certificate.notAfter,
      crlId: issuer === undefined ? "" : crlIdOf(issuer.certificate),
      issuerId: issuer?.id ?? "",
      nowMs: pki.clock.now(),
      writes: revocable.writes,
    }));
  return { data: { ...revocationTime(record), state: "revoked" }, warnings: listWarnings(pki, issuer) };
}

/**
 * Revoke what a lease of `issue` or `sign` stands for. A lease ends with its certificate, to the second; what ends by itself
 * is in no need of a list. It is no error when the certificate is not kept any more.
 */
export async function revokeLeased(pki: PkiMount, internal: JsonObject): Promise<void> {
  const serialNumber = parseSerialNumber(String(internal["serial_number"]));
  if (serialNumber === undefined || (await pki.certificates.read(serialNumber)) === undefined) return;
  const revocable = await revocableBySerialNumber(pki, serialNumber);
  if (revocable.certificate.notAfter <= pki.clock.now() + LEASE_SLACK_MS) return;
  await revoke(pki, revocable);
}

/** Put an issuer into the list of the one that signed it, when that is another one of the mount. */
export async function revokeIssuerCertificate(pki: PkiMount, issuer: Issuer): Promise<void> {
  const { certificate, revokedAtMs } = issuer;
  const parent = issuerOf(pki, certificate);
  if (parent === undefined || crlIdOf(parent.certificate) === crlIdOf(certificate)) return;
  await pki.revocations.revoke({
    serialNumber: certificate.serialNumber,
    notAfterMs: certificate.notAfter,
    crlId: crlIdOf(parent.certificate),
    issuerId: parent.id,
    nowMs: revokedAtMs === 0 ? pki.clock.now() : revokedAtMs,
    writes: [],
  });
}

/** When something was revoked, in both of Vault's forms. */
export function revocationTime(record: Pick<RevokedRecord, "revokedAtMs">): JsonObject {
  return {
    revocation_time: Math.floor(record.revokedAtMs / 1000),
    revocation_time_rfc3339: new Date(record.revokedAtMs).toISOString(),
  };
}

/** The issuer of the mount that signed a certificate. */
export function issuerOf(pki: Pick<PkiMount, "issuers">, certificate: Certificate): Issuer | undefined {
  return [...pki.issuers.state.issuers.values()].find((issuer) =>
    isIssuedBy(certificate, issuer.certificate),
  );
}

/** What keeps a revocation from being seen by who reads the list right now. */
function listWarnings(pki: PkiMount, issuer: Issuer | undefined): string[] {
  if (issuer === undefined) {
    return [
      "its issuer is not in this mount, so it is in no CRL: import the issuer, then run tidy with tidy_revoked_cert_issuer_associations=true",
    ];
  }
  if (pki.crlConfig.settings.disable) {
    return ["CRLs are disabled in config/crl: only OCSP and cert/:serial tell that it is revoked"];
  }
  if (crlSignerFor(issuer, pki.issuers.state) === undefined) {
    return ["its issuer may not sign CRLs or its key is not here: only OCSP and cert/:serial can tell"];
  }
  const next = pki.crls.nextRebuildMs(issuer);
  if (next === undefined) return [];
  const when = new Date(next).toISOString();
  return [`auto_rebuild is on: the next CRL, which has it, is made by ${when}; crl/rotate makes it now`];
}

function assertNoIssuer(pki: PkiMount, serialNumber: string): void {
  const [issuer] = pki.issuers.bySerialNumber(serialNumber);
  if (issuer === undefined) return;
  throw new RksError(
    "INPUT_INVALID",
    `certificate ${formatSerialNumber(serialNumber)} is an issuer's: adding it to its own CRL is not allowed`,
    { suggestion: `Revoke the issuer: rks write ${pki.mount.path}issuer/${issuer.id}/revoke.` },
  );
}
