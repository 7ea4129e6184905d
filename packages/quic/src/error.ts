import { RksError } from "@rk8s/protocol";
import type { ConnectionEnd } from "@rk8s/protocol";
import type { NativeConnectionError } from "./native-binding.js";

/** TLS alerts travel as transport error codes from here on (RFC 9001 §4.8). */
const CRYPTO_ERROR = 0x100;
const LAST_CRYPTO_ERROR = 0x1ff;

/** TLS AlertDescription (RFC 8446 §6) as QUIC error codes; what BoringSSL sends for each kind of bad certificate. */
const ALERT = {
  badCertificate: 0x100 + 42,
  unsupportedCertificate: 0x100 + 43,
  certificateRevoked: 0x100 + 44,
  certificateExpired: 0x100 + 45,
  certificateUnknown: 0x100 + 46,
  unknownCa: 0x100 + 48,
  accessDenied: 0x100 + 49,
  decryptError: 0x100 + 51,
  certificateRequired: 0x100 + 116,
  noApplicationProtocol: 0x100 + 120,
} as const;

const CERTIFICATE_REFUSALS: ReadonlyMap<number, string> = new Map([
  [ALERT.badCertificate, "is bad"],
  [ALERT.unsupportedCertificate, "is not allowed for this use"],
  [ALERT.certificateRevoked, "is revoked"],
  [ALERT.certificateExpired, "has expired or is not valid yet"],
  [ALERT.certificateUnknown, "is not acceptable"],
  [ALERT.unknownCa, "does not chain to a trusted root"],
  [ALERT.accessDenied, "is not allowed in"],
  [ALERT.decryptError, "has a bad signature"],
  [ALERT.certificateRequired, "is missing"],
]);

const TRANSPORT_ERRORS: ReadonlyMap<number, string> = new Map([
  [0x0, "no error"],
  [0x1, "internal error"],
  [0x2, "connection refused"],
  [0x3, "flow control error"],
  [0x4, "stream limit error"],
  [0x5, "stream state error"],
  [0x6, "final size error"],
  [0x7, "frame encoding error"],
  [0x8, "transport parameter error"],
  [0xa, "protocol violation"],
  [0xb, "invalid token"],
  [0xc, "application error"],
]);

/** Why a native connection that has ended did so. */
export interface NativeEnd {
  /** What this side put into its CONNECTION_CLOSE, if it sent one. */
  readonly local: NativeConnectionError | undefined;
  /** What the peer's CONNECTION_CLOSE said, if one came. */
  readonly peer: NativeConnectionError | undefined;
}

/** Whether this side gave up a handshake because of the peer's certificate. */
export function isCertificateRefusal(local: NativeConnectionError | undefined): boolean {
  return local !== undefined && !local.isApp && CERTIFICATE_REFUSALS.has(local.errorCode);
}

/** Say why a dial failed before the handshake was done. `target` is for people: `"rks.example:50051"`. */
export function dialError(end: NativeEnd, target: string, serverName: string): RksError {
  if (end.peer !== undefined) return peerRefusedDial(end.peer, target);
  const code = end.local?.errorCode ?? 0;
  if (code === ALERT.badCertificate) {
    return new RksError("SERVER_NAME_MISMATCH", `the server at "${target}" is not "${serverName}"`, {
      suggestion: "Check the address; something else than the control plane may answer there.",
    });
  }
  const refusal = CERTIFICATE_REFUSALS.get(code);
  if (refusal !== undefined) {
    return new RksError("SERVER_UNTRUSTED", `the certificate of the server at "${target}" ${refusal}`, {
      suggestion:
        code === ALERT.certificateExpired
          ? "Compare the clocks of both hosts."
          : "Check that the root certificate belongs to this control plane.",
    });
  }
  return new RksError("UNREACHABLE", `the handshake with "${target}" failed: ${describe(end.local)}`, {
    suggestion: "Check that a control plane listens at this address.",
  });
}

function peerRefusedDial(peer: NativeConnectionError, target: string): RksError {
  if (!peer.isApp && peer.errorCode === ALERT.noApplicationProtocol) {
    return new RksError("VERSION_UNSUPPORTED", `the server at "${target}" speaks another protocol`, {
      suggestion: "Check the address, and that both sides are of versions that go together.",
    });
  }
  if (!peer.isApp && CERTIFICATE_REFUSALS.has(peer.errorCode)) return clientCertificateRefused(peer);
  return new RksError("UNREACHABLE", `the server at "${target}" refused the connection: ${describe(peer)}`, {
    suggestion: "Try again later, or look into the control plane's log.",
  });
}

function clientCertificateRefused(peer: NativeConnectionError): RksError {
  const refusal = CERTIFICATE_REFUSALS.get(peer.errorCode) ?? `is refused (${describe(peer)})`;
  return new RksError("CLIENT_CERTIFICATE_REFUSED", `the peer says that this side's certificate ${refusal}`, {
    suggestion: "Check that this certificate was issued by the control plane's CA and is still valid.",
  });
}

/** Say why an established connection ended by a CONNECTION_CLOSE of either side or a fault. */
export function connectionEnd(end: NativeEnd): ConnectionEnd {
  if (end.peer !== undefined) return endByPeer(end.peer);
  if (end.local?.isApp === true) return endByLocal(end.local.errorCode, reasonText(end.local));
  return lost(connectionLost(`the peer broke the protocol: ${describe(end.local)}`));
}

/** The end of a connection that this side closed. */
export function endByLocal(code: number, reason: string): ConnectionEnd {
  const error = new RksError(
    "CONNECTION_LOST",
    `the connection was closed here with code ${code}${quoted(reason)}`,
    {
      suggestion: "Open a new connection.",
    },
  );
  return { by: "local", code, reason, error };
}

function endByPeer(peer: NativeConnectionError): ConnectionEnd {
  if (!peer.isApp) {
    const isAlert = peer.errorCode >= CRYPTO_ERROR && peer.errorCode <= LAST_CRYPTO_ERROR;
    return lost(
      isAlert ? clientCertificateRefused(peer) : connectionLost(`the peer gave up: ${describe(peer)}`),
    );
  }
  const reason = reasonText(peer);
  const error = connectionLost(`the peer closed the connection with code ${peer.errorCode}${quoted(reason)}`);
  return { by: "peer", code: peer.errorCode, reason, error };
}

/** The end of a connection that nobody closed. */
export function lost(error: RksError): ConnectionEnd {
  return { by: "lost", code: undefined, reason: error.message, error };
}

/** What pending work on a connection fails with when the network or the peer is at fault. */
export function connectionLost(message: string): RksError {
  return new RksError("CONNECTION_LOST", message, { suggestion: "Connect again." });
}

/** Say that no handshake was finished in time. */
export function handshakeTimedOut(target: string, timeoutMs: number): RksError {
  return new RksError("TIMED_OUT", `no answer from "${target}" within ${timeoutMs / 1000} s`, {
    suggestion: "Check the address and that UDP is let through on the way.",
  });
}

/** Say that the address cannot be reached at all: no such name, no route, or nothing listens there. */
export function unreachable(target: string, cause: unknown): RksError {
  return new RksError("UNREACHABLE", `"${target}" cannot be reached: ${causeText(cause)}`, {
    cause,
    suggestion: "Check the address and that the control plane is running.",
  });
}

/** Say that a local address cannot be listened on. */
export function unbindable(target: string, cause: unknown): RksError {
  return new RksError("UNREACHABLE", `cannot listen on "${target}": ${causeText(cause)}`, {
    cause,
    suggestion: "Choose a free port and an address of this host.",
  });
}

/** Turn what a native stream call threw into the stream's error: `StreamReset(42)`, `StreamStopped(42)`. */
export function streamError(reason: unknown): RksError {
  const text = causeText(reason);
  const [, kind, code] = /^Stream(Reset|Stopped)\((\d+)\)/.exec(text) ?? [];
  const message =
    kind === undefined
      ? `the stream is no longer usable: ${text}`
      : kind === "Reset"
        ? `the peer reset the stream with code ${code}`
        : `the peer no longer reads the stream, code ${code}`;
  return new RksError("STREAM_RESET", message, { cause: reason, suggestion: "Try the request again." });
}

/** What work on a stream fails with after this side has given it up. */
export function streamResetHere(code: number): RksError {
  return new RksError("STREAM_RESET", `the stream was reset here with code ${code}`, {
    suggestion: "Open a new stream.",
  });
}

/** Write an address for people: brackets around IPv6. */
export function addressText(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

function describe(error: NativeConnectionError | undefined): string {
  if (error === undefined) return "no reason given";
  if (error.isApp) return `application code ${error.errorCode}${quoted(reasonText(error))}`;
  const name = TRANSPORT_ERRORS.get(error.errorCode);
  if (name !== undefined) return name;
  if (error.errorCode >= CRYPTO_ERROR && error.errorCode <= LAST_CRYPTO_ERROR) {
    return `TLS alert ${error.errorCode - CRYPTO_ERROR}`;
  }
  return `transport code ${error.errorCode}`;
}

function reasonText(error: NativeConnectionError): string {
  return new TextDecoder().decode(error.reason);
}

function quoted(reason: string): string {
  return reason === "" ? "" : `: "${reason}"`;
}

function causeText(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}
