import { parseCertificate } from "@rk8s/x509";
import type { Answer } from "../../vault/backend.js";
import { type BackendPath, operation, parameter } from "../../vault/path-table.js";
import { certificatePem } from "../certificate-format.js";
import type { PkiMount } from "../pki-mount.js";
import { formatSerialNumber, parseSerialNumber } from "../serial-number.js";

/** `cert/:serial` in its forms, and `certs`. */
export function certificatePaths(pki: PkiMount): BackendPath[] {
  const read = (toAnswer: (der: Uint8Array) => Answer) =>
    operation({
      access: "anyone",
      summary: "Read a certificate by its serial number.",
      handle: async (request) => {
        const serialNumber = parseSerialNumber(parameter(request, "serial"));
        if (serialNumber === undefined) return undefined;
        const record = await pki.certificates.read(serialNumber);
        const der = record?.der ?? pki.issuers.bySerialNumber(serialNumber)[0]?.certificate.der;
        return der === undefined ? undefined : toAnswer(der);
      },
    });
  return [
    { pattern: "cert/:serial", operations: { read: read(certificateData) } },
    {
      pattern: "cert/:serial/raw",
      operations: {
        read: read((der) => ({
          data: { certificate: certificatePem(der) },
          raw: { contentType: "application/pkix-cert", body: der },
        })),
      },
    },
    {
      pattern: "cert/:serial/raw/pem",
      operations: {
        read: read((der) => ({
          data: { certificate: certificatePem(der) },
          raw: { contentType: "application/pem-certificate-chain", body: certificatePem(der) },
        })),
      },
    },
    {
      pattern: "certs",
      operations: {
        list: operation({
          summary: "List the serial numbers of stored certificates.",
          handle: async () => {
            const keys: string[] = [];
            let after: string | undefined;
            for (;;) {
              const page = await pki.certificates.list(after === undefined ? {} : { after });
              keys.push(...page.serialNumbers.map(formatSerialNumber));
              after = page.serialNumbers.at(-1);
              if (!page.more || after === undefined) break;
            }
            return keys.length === 0 ? undefined : { data: { keys } };
          },
        }),
      },
    },
  ];
}

function certificateData(der: Uint8Array): Answer {
  const { notAfter } = parseCertificate(der);
  return {
    data: {
      certificate: certificatePem(der),
      expiration: Math.floor(notAfter / 1000),
      revocation_time: 0,
      revocation_time_rfc3339: "",
    },
  };
}
