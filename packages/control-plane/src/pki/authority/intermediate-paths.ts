import { createPublicKey } from "node:crypto";
import type { z } from "zod";
import {
  assembleCertificateRequest,
  buildCertificateRequestInfo,
  encodeBasicConstraints,
  encodePem,
  encodeSignatureAlgorithm,
} from "@rk8s/x509";
import type { Answer } from "../../vault/backend.js";
import { type BackendPath, operation, parameter } from "../../vault/path-table.js";
import { encodePrivateKey } from "../certificate-format.js";
import { hasAccessUrls } from "../issuer/access-points.js";
import type { PkiMount } from "../pki-mount.js";
import { signatureAlgorithmOf, signBytes } from "../signing.js";
import { assertModestSize, caNamesExtension, caSubject } from "./ca-certificate.js";
import { intermediateFields } from "./ca-fields.js";
import { caKey, keySource, type KeySource } from "./ca-key.js";
import { MISSING_ACCESS_URLS } from "./ca-warnings.js";

/**
 * Requests for intermediates that another CA signs: `intermediate/generate/:type`,
 * `issuers/generate/intermediate/:type`, and `intermediate/cross-sign`, which is one for a key that is there.
 */
export function intermediatePaths(pki: PkiMount): BackendPath[] {
  const generate = (pattern: string, source?: KeySource): BackendPath => ({
    pattern,
    operations: {
      update: operation({
        summary: "Make a key, or take an existing one, and a request for an intermediate CA.",
        fields: intermediateFields,
        handle: (request) =>
          generateIntermediate(pki, source ?? keySource(parameter(request, "type")), request.fields),
      }),
    },
  });
  return [
    generate("intermediate/generate/:type"),
    generate("issuers/generate/intermediate/:type"),
    generate("intermediate/cross-sign", "existing"),
  ];
}

async function generateIntermediate(
  pki: PkiMount,
  source: KeySource,
  fields: z.output<typeof intermediateFields>,
): Promise<Answer> {
  const subject = caSubject(fields);
  const extensions = caNamesExtension(fields, subject);
  if (fields.add_basic_constraints) {
    extensions.push(encodeBasicConstraints({ isCa: true, pathLength: undefined }));
  }
  assertModestSize(subject, extensions);
  const { privateKey } = await caKey(pki, source, fields);
  const algorithm = signatureAlgorithmOf(privateKey, {
    signatureBits: fields.signature_bits,
    usePss: fields.use_pss,
  });
  const spki = createPublicKey(privateKey).export({ type: "spki", format: "der" });
  const tbs = buildCertificateRequestInfo({ subject, spki, extensions });
  const signature = signBytes(algorithm, tbs, privateKey);
  const der = assembleCertificateRequest(tbs, encodeSignatureAlgorithm(algorithm), signature);
  const { entry: key } = await pki.issuers.change((change) =>
    change.addKey(privateKey, { name: source === "existing" ? "" : fields.key_name }),
  );
  const secret = source === "exported" ? encodePrivateKey(privateKey, fields) : undefined;
  const csr =
    fields.format === "der"
      ? Buffer.from(der).toString("base64")
      : encodePem("CERTIFICATE REQUEST", der).trimEnd();
  const bundled = secret !== undefined && fields.format === "pem_bundle";
  return {
    data: { csr: bundled ? `${secret.private_key}\n${csr}` : csr, key_id: key.id, ...secret },
    warnings: hasAccessUrls(pki.access.urls) ? [] : [MISSING_ACCESS_URLS],
  };
}
