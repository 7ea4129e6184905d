import { concatBytes, utf8 } from "./bytes.js";

const JOIN_LABEL = "rk8s/join-proof/1";
const RENEW_LABEL = "rk8s/renew-proof/1";
const ENROL_RECOVERY_LABEL = "rk8s/enrol-recovery/1";
const RECOVER_LABEL = "rk8s/recover-proof/1";
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

/** One connection, as a recovery's proof is bound to it. */
interface RecoveryConnectionFields {
  readonly alpn: string;
  /** The body of the Hello frame as sent. */
  readonly hello: Uint8Array;
  /** The body of the Welcome frame as received. */
  readonly welcome: Uint8Array;
  /** SubjectPublicKeyInfo (DER) of the server's leaf on this connection. */
  readonly serverLeafSpki: Uint8Array;
}

/** What a key signs to be enrolled for a node: this connection, this node, this key. */
export interface EnrolRecoveryProofFields extends RecoveryConnectionFields {
  readonly nodeName: string;
  readonly kind: string;
  readonly publicKey: Uint8Array;
}

/** What an enrolled key signs to bring its node back: this connection, this node, this request. */
export interface RecoverProofFields extends RecoveryConnectionFields {
  readonly csr: Uint8Array;
  readonly nodeName: string;
  readonly kind: string;
  readonly sequence: number;
  readonly machineIdSha256: Uint8Array;
}

/** The bytes that the enrolled key signs in `EnrolRecovery.proof`. */
export function enrolRecoveryTranscript(fields: EnrolRecoveryProofFields): Uint8Array {
  return transcript(ENROL_RECOVERY_LABEL, [
    ...connectionFields(fields),
    utf8(fields.nodeName),
    utf8(fields.kind),
    fields.publicKey,
  ]);
}

/** The bytes that are signed in `CertificateRecover.proof`. The sequence is in decimal digits. */
export function recoverProofTranscript(fields: RecoverProofFields): Uint8Array {
  return transcript(RECOVER_LABEL, [
    ...connectionFields(fields),
    fields.csr,
    utf8(fields.nodeName),
    utf8(fields.kind),
    utf8(String(fields.sequence)),
    fields.machineIdSha256,
  ]);
}

function connectionFields(fields: RecoveryConnectionFields): readonly Uint8Array[] {
  return [utf8(fields.alpn), fields.hello, fields.welcome, fields.serverLeafSpki];
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
