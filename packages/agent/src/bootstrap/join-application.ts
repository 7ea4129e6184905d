import { ALPN, type JoinToken, type Message } from "@rk8s/protocol";
import { signJoinProof } from "../identity/join-proof.js";
import type { OpenedConnection } from "./open-connection.js";

/** What a join asks for. */
export interface JoinApplicationInit {
  readonly token: JoinToken;
  readonly role: "node" | "operator";
  /** DER (RFC 2986). */
  readonly csr: Uint8Array;
  readonly nodeName: string | undefined;
}

/** The body of CertificateSign and CheckJoin, with a proof that is good on this connection only, once. */
export function joinApplication(
  opened: OpenedConnection,
  { token, role, csr, nodeName }: JoinApplicationInit,
): Omit<Message<"CertificateSign">, "type"> {
  const proof = signJoinProof(token, {
    alpn: ALPN,
    hello: opened.helloBody,
    welcome: opened.welcomeBody,
    serverLeafSpki: opened.serverLeaf.spki,
    csr,
    nodeName: nodeName ?? "",
    role,
  });
  return { tokenId: token.id, role, csr, ...(nodeName === undefined ? {} : { nodeName }), proof };
}
