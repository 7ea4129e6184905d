import { encodeOcspError, MAX_OCSP_REQUEST_BYTES } from "@rk8s/x509";
import type { Answer } from "../../vault/backend.js";
import { type BackendPath, parameter } from "../../vault/path-table.js";
import type { OcspResponder } from "./ocsp-responder.js";

/** Base64 takes four characters for three bytes; percent-encoded ones were decoded before. */
const MAX_BASE64 = Math.ceil(MAX_OCSP_REQUEST_BYTES / 3) * 4;

/**
 * `ocsp`: DER questions for everyone, in the body of a POST (as bytes, or as base64, in the field `request`) or in the path
 * of a GET (RFC 6960 appendix A.1). Refusals are OCSP answers too, with status 200.
 */
export function ocspPaths(responder: Pick<OcspResponder, "answer">): BackendPath[] {
  const answer = async (request: Uint8Array | undefined): Promise<Answer> => {
    const body =
      request === undefined ? encodeOcspError("malformedRequest") : await responder.answer(request);
    return {
      data: { response: Buffer.from(body).toString("base64") },
      raw: { contentType: "application/ocsp-response", body },
    };
  };
  return [
    {
      pattern: "ocsp",
      operations: {
        update: {
          access: "anyone",
          summary: "Ask by POST whether certificates are revoked (OCSP).",
          fields: undefined,
          handle: ({ data }) => {
            const given = data["request"];
            return answer(given instanceof Uint8Array ? given : fromBase64(given));
          },
        },
      },
    },
    {
      pattern: "ocsp/*request",
      operations: {
        read: {
          access: "anyone",
          summary: "Ask by GET whether certificates are revoked (OCSP).",
          fields: undefined,
          handle: (request) => answer(fromBase64(parameter(request, "request"))),
        },
      },
    },
  ];
}

/** Bytes of base64 in either alphabet, with a space where a form's decoding took away a plus. */
function fromBase64(text: unknown): Uint8Array | undefined {
  if (typeof text !== "string" || text.length > MAX_BASE64) return undefined;
  const plain = text.replaceAll(" ", "+");
  return /^[\w+/-]+={0,2}$/.test(plain) ? Buffer.from(plain, "base64") : undefined;
}
