import type { Storage } from "@rk8s/storage";
import { parseCertificate } from "@rk8s/x509";
import type { Answer } from "../vault/backend.js";
import { certificatePem } from "./certificate-format.js";
import type { ClusterRevocation, ClusterRevocations } from "./cluster-revocation.js";
import { type ClusterRoots, trustedRoots } from "./cluster-roots.js";
import { readClusterCertificate } from "./cluster-store.js";
import { revocationTime } from "./revocation/revoke.js";
import { parseSerialNumber } from "./serial-number.js";

/** Paths of the cluster CA that everyone may read. */
export const CLUSTER_PUBLIC_PATHS = ["ca", "ca/pem", "ca_chain", "cert/*serial"] as const;

/**
 * Answer a read of `ca`, `ca/pem` (the root that signs), `ca_chain` (all roots to trust) or `cert/…`; undefined when there is no such thing or `path` is none of them. Raw
 * answers have the PEM in `certificate` or `ca_chain` besides, for everyone who does not ask over HTTP.
 */
export async function readClusterPublic(
  path: string,
  source: {
    readonly barrier: Storage;
    readonly prefix: string;
    readonly roots: ClusterRoots | undefined;
    readonly revocations: ClusterRevocations;
  },
): Promise<Answer | undefined> {
  const root = source.roots?.active.certificate.der;
  const pem = root === undefined ? "" : certificatePem(root);
  const trusted = source.roots === undefined ? [] : trustedRoots(source.roots).map(certificatePem);
  switch (path) {
    case "ca":
      return raw("application/pkix-cert", root ?? new Uint8Array(), { certificate: pem });
    case "ca/pem":
      return raw("application/pem-certificate-chain", pem, { certificate: pem });
    case "ca_chain":
      return raw("application/pem-certificate-chain", trusted.join("\n"), { ca_chain: trusted });
    case "cert/ca":
      return root === undefined ? undefined : certificateData(root);
    case "cert/ca_chain":
      return root === undefined
        ? undefined
        : { data: { ...certificateData(root).data, ca_chain: trusted.join("\n") } };
    default:
      return path.startsWith("cert/") ? readBySerial(path.slice("cert/".length), source) : undefined;
  }
}

async function readBySerial(
  rest: string,
  source: {
    readonly barrier: Storage;
    readonly prefix: string;
    readonly roots: ClusterRoots | undefined;
    readonly revocations: ClusterRevocations;
  },
): Promise<Answer | undefined> {
  const [text = "", ...form] = rest.split("/");
  const serialNumber = parseSerialNumber(text);
  if (serialNumber === undefined) return undefined;
  const issuer = source.roots?.active.certificate;
  const record = await readClusterCertificate(source.barrier, source.prefix, serialNumber);
  const der = record?.der ?? (issuer?.serialNumber === serialNumber ? issuer.der : undefined);
  if (der === undefined) return undefined;
  switch (form.join("/")) {
    case "":
      return certificateData(der, await source.revocations.find(serialNumber));
    case "raw":
      return raw("application/pkix-cert", der, { certificate: certificatePem(der) });
    case "raw/pem":
      return raw("application/pem-certificate-chain", certificatePem(der), {
        certificate: certificatePem(der),
      });
    default:
      return undefined;
  }
}

function certificateData(
  der: Uint8Array,
  revocation?: ClusterRevocation,
): { readonly data: NonNullable<Answer["data"]> } {
  const { notAfter } = parseCertificate(der);
  return {
    data: {
      certificate: certificatePem(der),
      expiration: Math.floor(notAfter / 1000),
      ...revocationTimes(revocation),
    },
  };
}

function revocationTimes(revocation: ClusterRevocation | undefined): NonNullable<Answer["data"]> {
  return revocation === undefined
    ? { revocation_time: 0, revocation_time_rfc3339: "" }
    : revocationTime(revocation);
}

function raw(contentType: string, body: string | Uint8Array, data: NonNullable<Answer["data"]>): Answer {
  return { data, raw: { contentType, body } };
}
