import { concatBytes, utf8 } from "./bytes.js";

const JOIN_LABEL = "rk8s/join-proof/1";
const RENEW_LABEL = "rk8s/renew-proof/1";
const LOGIN_LABEL = "rk8s/login-proof/1";

/** What the holder of a join token signs: this token, this connection, this key, this request. */
export interface JoinProofFields {
  readonly alpn: string;
  /** The body of the Hello frame as sent. */
  readonly hello: Uint8Array;
  /** The body of the Welcome frame as received. */
  readonly welcome: Uint8Array;
  /** 16 hexadecimal digits. */
  readonly tokenId: string;
  /** SubjectPublicKeyInfo (DER) of the server's leaf on this connection. */
  readonly serverLeafSpki: Uint8Array;
  /** The whole certification request (DER). */
  readonly csr: Uint8Array;
  /** As sent in CertificateSign; empty when none was. */
  readonly nodeName: string;
  readonly role: "node" | "operator";
}

/**
 * The bytes that the token's Ed25519 key signs in `CertificateSign.proof`: the label, a zero byte, then each field
 * as `u32be length ‖ bytes`, in the order of `JoinProofFields`.
 */
export function joinProofTranscript(fields: JoinProofFields): Uint8Array {
  return transcript(JOIN_LABEL, [
    utf8(fields.alpn),
    fields.hello,
    fields.welcome,
    utf8(fields.tokenId),
    fields.serverLeafSpki,
    fields.csr,
    utf8(fields.nodeName),
    utf8(fields.role),
  ]);
}

/** The bytes that a node's **new** key signs in `CertificateRenew.proof`. */
export function renewProofTranscript(fields: {
  /** The body of the Welcome frame of this connection. */
  readonly welcome: Uint8Array;
  readonly csr: Uint8Array;
}): Uint8Array {
  return transcript(RENEW_LABEL, [fields.welcome, fields.csr]);
}

/** The bytes that a join token's Ed25519 key signs to log in to the vault. */
export function loginProofTranscript(fields: {
  /** Where the login method is mounted, as the client addresses it: `auth/join-token/`. */
  readonly mount: string;
  /** 16 hexadecimal digits. */
  readonly tokenId: string;
  /** The text of the challenge. */
  readonly nonce: string;
  /** The login role asked for; empty when none was. */
  readonly role: string;
}): Uint8Array {
  return transcript(LOGIN_LABEL, [
    utf8(fields.mount),
    utf8(fields.tokenId),
    utf8(fields.nonce),
    utf8(fields.role),
  ]);
}

function transcript(name: string, fields: readonly Uint8Array[]): Uint8Array {
  return concatBytes(
    utf8(name),
    Uint8Array.of(0),
    ...fields.flatMap((field) => {
      const length = new Uint8Array(4);
      new DataView(length.buffer).setUint32(0, field.length);
      return [length, field];
    }),
  );
}
