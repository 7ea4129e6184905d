import { parseCertificate } from "@rk8s/x509";
import type { Answer } from "../../vault/backend.js";
import { type BackendPath, operation, parameter } from "../../vault/path-table.js";
import { certificatePem } from "../certificate-format.js";
import type { PkiMount } from "../pki-mount.js";
import { revocationTime } from "../revocation/revoke.js";
import { parseSerialNumber } from "../serial-number.js";

interface Kept {
  readonly der: Uint8Array;
  /** Empty: not known. */
  readonly issuerId: string;
}

/** `cert/:serial` in its forms, for everyone. */
export function certificatePaths(pki: PkiMount): BackendPath[] {
  const read = (
    pattern: string,
    toAnswer: (kept: Kept, serialNumber: string) => Answer | Promise<Answer>,
  ) => ({
    pattern,
    operations: {
      read: operation({
        access: "anyone",
        summary: "Read a certificate by its serial number.",
        handle: async (request) => {
          const serialNumber = parseSerialNumber(parameter(request, "serial"));
          if (serialNumber === undefined) return undefined;
          const kept = await find(pki, serialNumber);
          return kept === undefined ? undefined : toAnswer(kept, serialNumber);
        },
      }),
    },
  });
  return [
    read("cert/:serial", (kept, serialNumber) => certificateData(pki, kept, serialNumber)),
    read("cert/:serial/raw", ({ der }) => ({
      data: { certificate: certificatePem(der) },
      raw: { contentType: "application/pkix-cert", body: der },
    })),
    read("cert/:serial/raw/pem", ({ der }) => ({
      data: { certificate: certificatePem(der) },
      raw: { contentType: "application/pem-certificate-chain", body: certificatePem(der) },
    })),
  ];
}

async function find(pki: PkiMount, serialNumber: string): Promise<Kept | undefined> {
  const record = await pki.certificates.read(serialNumber);
  if (record !== undefined) return record;
  const issuer = pki.issuers.bySerialNumber(serialNumber)[0];
  return issuer === undefined ? undefined : { der: issuer.certificate.der, issuerId: "" };
}

async function certificateData(pki: PkiMount, kept: Kept, serialNumber: string): Promise<Answer> {
  const revoked = await pki.revocations.find(serialNumber);
  const issuerId = kept.issuerId === "" ? (revoked?.issuerId ?? "") : kept.issuerId;
  return {
    data: {
      certificate: certificatePem(kept.der),
      expiration: Math.floor(parseCertificate(kept.der).notAfter / 1000),
      ...(revoked === undefined
        ? { revocation_time: 0, revocation_time_rfc3339: "" }
        : revocationTime(revoked)),
      ...(issuerId === "" ? {} : { issuer_id: issuerId }),
    },
  };
}
