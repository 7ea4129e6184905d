import { RksError } from "@rk8s/protocol";
import type { Answer } from "../../vault/backend.js";
import type { CertificateAuthority, CertificateFields, IssuedCertificate } from "../certificate-authority.js";
import type { Issuer } from "../issuer/issuer.js";
import type { PkiMount } from "../pki-mount.js";
import type { PkiRole } from "../role/role-fields.js";
import { formatSerialNumber } from "../serial-number.js";
import { leafAnswer } from "./leaf-answer.js";
import type { LeafRequest } from "./issue-fields.js";
import type { LeafKey } from "./leaf-key.js";

/** A certificate that has been decided, and what its answer needs. */
export interface DecidedLeaf {
  readonly issuer: Issuer;
  readonly role: PkiRole;
  /** Empty: none was named. */
  readonly roleName: string;
  readonly request: Pick<LeafRequest, "format" | "remove_roots_from_chain">;
  readonly leaf: CertificateFields;
  /** Undefined when the caller has the key. */
  readonly key: LeafKey | undefined;
  readonly warnings: readonly string[];
}

/** 158 random bits do not collide; more in a row means that the source of numbers is broken. */
const MAX_SERIAL_NUMBERS = 3;

/**
 * Sign a certificate, keep it unless the role says not to, and answer with it. It is kept before it is answered, and under a
 * number that no other certificate of the mount was kept under.
 * @throws {RksError} INPUT_INVALID when the issuer cannot sign or the certificate cannot be written.
 */
export async function issueLeaf(pki: PkiMount, decided: DecidedLeaf): Promise<Answer> {
  const { issuer, role, request, key, warnings } = decided;
  const authority = await pki.issuers.authority(issuer, "issuing-certificates");
  const issued = role.no_store
    ? sign(pki, authority, decided.leaf)
    : await signAndKeep(pki, authority, decided);
  const data = leafAnswer(issued, issuer, { issuers: pki.issuers, request, key });
  if (!role.generate_lease) return { data, warnings };
  const ttlSeconds = Math.max(1, Math.floor((issued.notAfter - pki.clock.now()) / 1000));
  const internal = { serial_number: formatSerialNumber(issued.serialNumber) };
  return { data, warnings, lease: { ttlSeconds, maxTtlSeconds: ttlSeconds, renewable: false, internal } };
}

async function signAndKeep(
  pki: PkiMount,
  authority: CertificateAuthority,
  { leaf, issuer, roleName }: DecidedLeaf,
): Promise<IssuedCertificate> {
  for (let attempt = 0; attempt < MAX_SERIAL_NUMBERS; attempt += 1) {
    const issued = sign(pki, authority, leaf);
    const { der, serialNumber, notAfter: notAfterMs } = issued;
    const { succeeded } = await pki.storage.transaction(
      [pki.certificates.absence(serialNumber)],
      pki.certificates.writes(serialNumber, { der, issuerId: issuer.id, role: roleName, notAfterMs }),
    );
    if (succeeded) return issued;
  }
  throw new RksError("CONFLICT", `${MAX_SERIAL_NUMBERS} serial numbers in a row are taken already`, {
    suggestion: "Try again; if it stays, the machine's source of random numbers is broken.",
  });
}

function sign(pki: PkiMount, authority: CertificateAuthority, leaf: CertificateFields): IssuedCertificate {
  const { createSerialNumber } = pki;
  try {
    return authority.sign(
      createSerialNumber === undefined ? leaf : { ...leaf, serialNumber: createSerialNumber() },
    );
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new RksError("INPUT_INVALID", `a certificate cannot carry what was asked for: ${cause.message}`, {
      cause,
      suggestion: "Leave the part named out, or write it as certificates can carry it.",
    });
  }
}
