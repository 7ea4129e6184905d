import { createPrivateKey, X509Certificate } from "node:crypto";
import { RksError } from "@rk8s/protocol";
import type { ConnectionLimits, Credentials } from "@rk8s/protocol";
import {
  CONNECTION_WINDOW_BYTES,
  MAX_CONNECTION_WINDOW_BYTES,
  MAX_PATHS,
  MAX_STREAM_WINDOW_BYTES,
  MAX_UDP_PAYLOAD_BYTES,
  STREAM_WINDOW_BYTES,
} from "./limits.js";
import type { NativeConfig, NativeQuiche } from "./native-binding.js";
import { certificatesToPem, derToPem } from "./pem.js";

/** RFC 9000 §18.2: the largest UDP payload there is; whatever the peer sends is taken. */
const MAX_RECEIVED_PAYLOAD_BYTES = 65_527;

/** A native configuration, shared by all connections that begin with it, and what it makes this side present. */
export interface EndpointConfig {
  readonly native: NativeConfig;
  readonly localCertificates: readonly Uint8Array[];
}

export interface EndpointConfigInit {
  /**
   * `require`: a peer without a certificate that chains to `roots` is refused; `ask`: one without is let in, a bad
   * one is refused.
   */
  readonly verify: "require" | "ask";
  readonly roots: readonly Uint8Array[];
  readonly credentials?: Credentials | undefined;
  readonly alpn: readonly string[];
  readonly limits: Required<ConnectionLimits>;
}

/**
 * Build the native configuration: one TLS context, with the key and certificates parsed once for all connections.
 * When it succeeds, `credentials.privateKey` is all zeros; when it fails it is untouched. Our own PEM copy of the
 * key is wiped in both cases. BoringSSL's copy lives as long as the configuration and its connections.
 * @throws {RksError} CONFIG_INVALID for certificates or keys that cannot be read or do not belong together. Dates
 * and names are not checked.
 */
export function buildEndpointConfig(quiche: NativeQuiche, init: EndpointConfigInit): EndpointConfig {
  const { credentials, limits } = init;
  init.roots.forEach((der, index) => readCertificate(der, `root ${index + 1}`));
  if (credentials !== undefined) assertCredentials(credentials);
  assertAlpn(init.alpn);
  const native = buildTls(quiche, init);
  // The factory's own "verify" also demands a certificate; this one only asks for it.
  if (init.verify === "ask") native.verifyPeer(true);
  native.setApplicationProtos([...init.alpn]);
  native.setMaxIdleTimeout(limits.idleTimeoutMs);
  native.setMaxRecvUdpPayloadSize(MAX_RECEIVED_PAYLOAD_BYTES);
  native.setMaxSendUdpPayloadSize(MAX_UDP_PAYLOAD_BYTES);
  native.setInitialMaxData(CONNECTION_WINDOW_BYTES);
  native.setMaxConnectionWindow(MAX_CONNECTION_WINDOW_BYTES);
  native.setInitialMaxStreamDataBidiLocal(STREAM_WINDOW_BYTES);
  native.setInitialMaxStreamDataBidiRemote(STREAM_WINDOW_BYTES);
  native.setMaxStreamWindow(MAX_STREAM_WINDOW_BYTES);
  native.setInitialMaxStreamsBidi(limits.maxIncomingStreams);
  native.setInitialMaxStreamDataUni(0);
  native.setInitialMaxStreamsUni(0);
  native.setDisableActiveMigration(true);
  native.setActiveConnectionIdLimit(MAX_PATHS);
  native.enablePacing(false); // Node cannot send at a given microsecond; bursts are capped instead
  native.grease(true);
  credentials?.privateKey.fill(0);
  return { native, localCertificates: credentials?.certificateChain ?? [] };
}

function buildTls(quiche: NativeQuiche, init: EndpointConfigInit): NativeConfig {
  const { credentials, roots } = init;
  const keyPem = credentials === undefined ? undefined : derToPem("PRIVATE KEY", credentials.privateKey);
  try {
    return quiche.Config.withBoringSslCtx(
      init.verify === "require",
      false,
      roots.length === 0 ? undefined : certificatesToPem(roots),
      keyPem === undefined ? undefined : [keyPem],
      credentials === undefined ? undefined : [certificatesToPem(credentials.certificateChain)],
      undefined,
    );
  } catch (cause) {
    throw new RksError("CONFIG_INVALID", "the TLS stack refuses the certificates or the key", {
      cause,
      suggestion: "Use X.509 certificates in DER and a PKCS#8 key of a kind that TLS 1.3 knows.",
    });
  } finally {
    keyPem?.fill(0);
  }
}

/** BoringSSL silently drops a key that does not belong to the certificate, so this is looked at here. */
function assertCredentials(credentials: Credentials): void {
  if (credentials.certificateChain.length === 0) {
    throw new RksError("CONFIG_INVALID", "the certificate chain is empty", {
      suggestion: "Pass the leaf certificate first, followed by its issuers.",
    });
  }
  const chain = credentials.certificateChain.map((der, index) =>
    readCertificate(der, `certificate ${index + 1}`),
  );
  if (!isKeyOf(chain[0]!, credentials.privateKey)) {
    throw new RksError("CONFIG_INVALID", "the private key does not belong to the certificate", {
      suggestion: "Pass the key that the first certificate of the chain was issued for.",
    });
  }
}

/** PKCS#8 of a P-256 key as OpenSSL writes it: the public point (RFC 5915 §3, tag 1) comes last. */
const P256_PKCS8_BYTES = 138;
const P256_POINT_BYTES = 65;

/**
 * A key that brings its public half is compared by that, without another copy of the private one: the TLS stack
 * refuses a key whose halves do not belong together.
 */
function isKeyOf(certificate: X509Certificate, pkcs8: Uint8Array): boolean {
  if (pkcs8.length === P256_PKCS8_BYTES) {
    const spki = certificate.publicKey.export({ format: "der", type: "spki" });
    const point = pkcs8.subarray(-P256_POINT_BYTES);
    if (Buffer.compare(spki.subarray(-P256_POINT_BYTES), point) === 0) return true;
  }
  let key;
  try {
    key = createPrivateKey({
      key: Buffer.from(pkcs8.buffer, pkcs8.byteOffset, pkcs8.byteLength),
      format: "der",
      type: "pkcs8",
    });
  } catch {
    // The cause is left out on purpose: it is about key material.
    throw new RksError("CONFIG_INVALID", "the private key cannot be read", {
      suggestion: "Pass an unencrypted PKCS#8 key in DER; one that was used before has been wiped.",
    });
  }
  return certificate.checkPrivateKey(key);
}

/** RFC 7301 §3.1. */
function assertAlpn(protocols: readonly string[]): void {
  const lengths = protocols.map((protocol) => Buffer.byteLength(protocol));
  if (lengths.length > 0 && lengths.every((length) => length >= 1 && length <= 255)) return;
  throw new RksError("CONFIG_INVALID", `ALPN "${protocols.join(", ")}" cannot be used`, {
    suggestion: "Name at least one protocol of 1 to 255 bytes.",
  });
}

function readCertificate(der: Uint8Array, which: string): X509Certificate {
  try {
    return new X509Certificate(der);
  } catch (cause) {
    throw new RksError("CONFIG_INVALID", `${which} is not an X.509 certificate in DER`, {
      cause,
      suggestion: "Pass DER, not PEM, one certificate per array.",
    });
  }
}
