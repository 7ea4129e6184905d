import type { Answer, JsonObject } from "../../vault/backend.js";
import { type BackendPath, operation } from "../../vault/path-table.js";
import type { PkiMount } from "../pki-mount.js";

const PEM_CHAIN = "application/pem-certificate-chain";

/** The default issuer for everyone: `ca`, `ca/pem`, `ca_chain`, `cert/ca` and `cert/ca_chain`. */
export function caPaths({ issuers }: PkiMount): BackendPath[] {
  const raw = (contentType: string, body: string | Uint8Array, data: JsonObject): Answer => ({
    data,
    raw: { contentType, body, lastModifiedMs: issuers.state.changedAtMs },
  });
  const read = (pattern: string, summary: string, handle: () => Answer | undefined): BackendPath => ({
    pattern,
    operations: { read: operation({ access: "anyone", summary, handle }) },
  });
  /** The default issuer, DER and chain as PEM; undefined when there is none. */
  const current = () => {
    const issuer = issuers.find("default");
    if (issuer === undefined) return undefined;
    const chain = issuers.pemChainOf(issuer);
    return { der: issuer.certificate.der, pem: issuers.pemOf(issuer), chain };
  };
  return [
    read("ca", "Read the default issuer's certificate, DER.", () => {
      const ca = current();
      return raw("application/pkix-cert", ca?.der ?? "", { certificate: ca?.pem ?? "" });
    }),
    read("ca/pem", "Read the default issuer's certificate, PEM.", () => {
      const pem = current()?.pem ?? "";
      return raw(PEM_CHAIN, pem, { certificate: pem });
    }),
    read("ca_chain", "Read the default issuer's chain, PEM.", () => {
      const chain = current()?.chain ?? [];
      return raw(PEM_CHAIN, chain.join("\n"), { ca_chain: chain });
    }),
    read("cert/ca", "Read the default issuer's certificate.", () => {
      const ca = current();
      return ca === undefined ? undefined : { data: { certificate: ca.pem, ...NOT_REVOKED } };
    }),
    read("cert/ca_chain", "Read the default issuer's chain.", () => {
      const ca = current();
      if (ca === undefined) return undefined;
      const chain = ca.chain.join("\n");
      return { data: { certificate: chain, ca_chain: chain, ...NOT_REVOKED } };
    }),
  ];
}

const NOT_REVOKED = { revocation_time: 0, revocation_time_rfc3339: "" };
