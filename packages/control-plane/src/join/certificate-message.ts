import { decodeMessage, encodeMessage, type Message } from "@rk8s/protocol";
import type { TrustState } from "../pki/cluster-certificate.js";
import type { PreparedCertificate } from "./certificate-issuer.js";

/** The answer that hands a certificate to whoever asked for it; renewal is due at two thirds of what is left. */
export function certificateMessage(
  prepared: PreparedCertificate,
  nodeName: string,
  trust: TrustState,
  now: number,
): Message<"Certificate"> {
  const renewAfter = now + Math.floor(((prepared.notAfter - now) * 2) / 3);
  return {
    type: "Certificate",
    nodeName,
    leaf: prepared.certificate,
    chain: [...prepared.chain],
    trustBundle: [...trust.bundle],
    renewAfter: new Date(renewAfter).toISOString(),
    notAfter: new Date(prepared.notAfter).toISOString(),
    serialNumber: prepared.serialNumber,
    trustGeneration: trust.generation,
    ...(trust.refusedIssuers.length === 0 ? {} : { refusedIssuers: [...trust.refusedIssuers] }),
  };
}

/** The answer byte for byte, base64, so that it can be given again. */
export function rememberedAnswer(answer: Message<"Certificate">): string {
  return Buffer.from(encodeMessage(answer)).toString("base64");
}

/** What `rememberedAnswer` was made of. */
export function recallAnswer(remembered: string): Message<"Certificate"> {
  return decodeMessage(Buffer.from(remembered, "base64")) as Message<"Certificate">;
}
