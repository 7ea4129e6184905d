import { X509Certificate } from "node:crypto";
import { createSecureContext, type SecureContext } from "node:tls";

import { RksError } from "@rk8s/protocol";

/** What a client shows to the store and what it trusts, each as the bytes of PEM text. They are not kept. */
export interface EtcdCredentials {
  /** The roots that the members' certificates must lead to. */
  readonly ca: Uint8Array;
  /** The client's certificate, intermediates after it. Its common name is the store's user. */
  readonly certificate: Uint8Array;
  readonly privateKey: Uint8Array;
}

/** Credentials, loaded. */
export interface Identity {
  readonly context: SecureContext;
  /** The store's user, for messages. */
  readonly commonName: string;
  /** Milliseconds since the epoch. */
  readonly notAfterMs: number;
}

/**
 * Load credentials into the TLS stack.
 * @throws {RksError} CONFIG_INVALID when they cannot be read or key and certificate do not belong together;
 * CERTIFICATE_EXPIRED.
 */
export function loadCredentials(credentials: EtcdCredentials, nowMs: number): Identity {
  const identity = load(credentials);
  assertNotExpired(identity, nowMs);
  return identity;
}

/** @throws {RksError} CERTIFICATE_EXPIRED when the store would refuse the client certificate for its age. */
export function assertNotExpired({ commonName, notAfterMs }: Identity, nowMs: number): void {
  if (nowMs <= notAfterMs) return;
  const end = new Date(notAfterMs).toISOString();
  throw new RksError(
    "CERTIFICATE_EXPIRED",
    `the store's client certificate "${commonName}" expired at ${end}`,
    {
      suggestion:
        "Make another with `rks gen xline-certs --rks NAME` on the host of a running rks; where none runs, see docs/operations.md.",
    },
  );
}

function load({ ca, certificate, privateKey }: EtcdCredentials): Identity {
  try {
    const leaf = new X509Certificate(certificate);
    const context = createSecureContext({
      ca: buffer(ca),
      cert: buffer(certificate),
      key: buffer(privateKey),
      minVersion: "TLSv1.2",
    });
    const commonName = leaf.toLegacyObject().subject.CN;
    return { context, commonName: String(commonName), notAfterMs: Date.parse(leaf.validTo) };
  } catch (cause) {
    throw new RksError("CONFIG_INVALID", "the certificates for the store cannot be used", {
      cause,
      suggestion:
        "Give the store's CA, the client certificate and its private key as PEM, the key unencrypted.",
    });
  }
}

/** The same memory as a `Buffer`, which is what Node's TLS wants. */
function buffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
