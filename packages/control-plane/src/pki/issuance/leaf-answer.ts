import { encodePem } from "@rk8s/x509";
import type { JsonObject } from "../../vault/backend.js";
import type { IssuedCertificate } from "../certificate-authority.js";
import { certificatePem } from "../certificate-format.js";
import { isSelfSigned } from "../issuer/issuer-chain.js";
import type { Issuer } from "../issuer/issuer.js";
import type { IssuerStore } from "../issuer/issuer-store.js";
import { formatSerialNumber } from "../serial-number.js";
import type { LeafRequest } from "./issue-fields.js";
import type { LeafKey } from "./leaf-key.js";

/**
 * What `issue` and `sign` answer: the certificate, its issuer and the issuer's chain (the issuer first, without the leaf), times
 * in seconds, and the key that was made. With `pem_bundle` the certificate is key, certificate and chain in one text.
 */
export function leafAnswer(
  issued: IssuedCertificate,
  issuer: Issuer,
  parts: {
    readonly issuers: Pick<IssuerStore, "chainOf" | "pemChainOf">;
    readonly request: Pick<LeafRequest, "format" | "remove_roots_from_chain">;
    readonly key: LeafKey | undefined;
  },
): JsonObject {
  const { issuers, request, key } = parts;
  const chain = issuers.chainOf(issuer);
  const isDer = request.format === "der";
  const all = isDer ? chain.map(({ certificate }) => base64(certificate.der)) : issuers.pemChainOf(issuer);
  const links = request.remove_roots_from_chain
    ? all.filter((_, index) => !isSelfSigned(chain[index]?.certificate ?? issuer.certificate))
    : [...all];
  const leaf = isDer ? base64(issued.der) : certificatePem(issued.der);
  const secret = key === undefined ? undefined : encodeKey(key, isDer);
  const bundle = [...(secret === undefined ? [] : [secret]), leaf, ...links];
  return {
    certificate: request.format === "pem_bundle" ? bundle.join("\n") : leaf,
    issuing_ca: all[0],
    ca_chain: links,
    serial_number: formatSerialNumber(issued.serialNumber),
    not_before: issued.notBefore / 1000,
    expiration: issued.notAfter / 1000,
    ...(key === undefined ? {} : { private_key: secret, private_key_type: key.type }),
  };
}

function encodeKey({ label, privateKey }: LeafKey, isDer: boolean): string {
  return isDer ? base64(privateKey) : encodePem(label, privateKey).trimEnd();
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64");
}
