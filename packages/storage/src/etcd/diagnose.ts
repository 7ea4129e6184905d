import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { checkServerIdentity, connect as connectTls } from "node:tls";

import { type Clock, RksError, withDeadline } from "@rk8s/protocol";
import type { ErrorCode } from "@rk8s/protocol";

import type { Identity } from "./credentials.js";
import type { Endpoint } from "./endpoint.js";
import { notEtcd } from "./etcd-failure.js";

/** For the whole diagnosis. */
const TIMEOUT_MS = 1000;
/** With TLS 1.3 a server refuses the client after its handshake is done; who writes at once may not hear why. */
const REFUSAL_MS = 150;
/** How a client of HTTP/2 begins (RFC 9113 §3.4), with an empty SETTINGS frame. */
const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0", "latin1");
const FRAME_HEADER_BYTES = 9;
const SETTINGS = 4;

/** TLS alerts that a server sends because of the client's certificate. */
const CLIENT_REFUSED =
  /ALERT_(?:BAD_CERTIFICATE|UNKNOWN_CA|CERTIFICATE|UNSUPPORTED_CERTIFICATE|ACCESS_DENIED)/;
/** What OpenSSL says when the other side does not speak TLS. */
const NOT_TLS = /WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST|UNEXPECTED_MESSAGE|BAD_RECORD_TYPE/;

const SUGGESTIONS = {
  UNREACHABLE: "Check that etcd runs there and that nothing blocks the way to it.",
  TIMED_OUT: "Check that etcd runs there and that nothing blocks the way to it.",
  SERVER_UNTRUSTED:
    "Give the CA that issued the store's server certificates, and check that they have not expired.",
  SERVER_NAME_MISMATCH:
    "Issue the member's server certificate for the host in its endpoint, or use the host it was issued for.",
  CLIENT_CERTIFICATE_REFUSED:
    "Start etcd with a --trusted-ca-file that holds the CA of this client certificate.",
} satisfies Partial<Record<ErrorCode, string>>;

/**
 * Connect to an endpoint beside gRPC, which only says that it could not, and find out why. Undefined: a connection can be
 * made and the other side speaks HTTP/2.
 */
export async function diagnose(
  endpoint: Endpoint,
  identity: Identity | undefined,
  { clock }: { readonly clock: Clock },
): Promise<RksError | undefined> {
  const socket = connect(endpoint, identity);
  // Errors are heard by whoever waits; one that comes when nobody does must not end the process.
  socket.on("error", () => undefined);
  try {
    const first = await withDeadline((signal) => greet(socket, endpoint.isSecure, { clock, signal }), {
      clock,
      timeoutMs: TIMEOUT_MS,
      attempt: `the store at "${endpoint.url}" did not answer`,
      suggestion: SUGGESTIONS.TIMED_OUT,
    });
    if (first.length === 0) {
      return refusal("UNREACHABLE", `the store at "${endpoint.url}" ended the connection at once`, undefined);
    }
    return first.length >= FRAME_HEADER_BYTES && first[3] === SETTINGS ? undefined : notEtcd(endpoint.url);
  } catch (reason) {
    return connectionError(endpoint, reason);
  } finally {
    socket.destroy();
  }
}

function connect({ host, port, isSecure }: Endpoint, identity: Identity | undefined): Socket {
  if (!isSecure || identity === undefined) return connectTcp({ host, port });
  return connectTls({
    host,
    port,
    secureContext: identity.context,
    ALPNProtocols: ["h2"],
    checkServerIdentity: (_name, certificate) => checkServerIdentity(host, certificate),
  });
}

/** Begin a connection of HTTP/2 and give the first bytes of the answer; none when the other side ends it. */
async function greet(
  socket: Socket,
  isSecure: boolean,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<Buffer> {
  await once(socket, isSecure ? "secureConnect" : "connect", { signal });
  const answer = firstBytes(socket, signal);
  if (isSecure) await Promise.race([answer, clock.sleep(REFUSAL_MS, { signal })]);
  socket.write(PREFACE);
  return answer;
}

async function firstBytes(socket: Socket, signal: AbortSignal): Promise<Buffer> {
  const ended = async (): Promise<Buffer> => {
    await once(socket, "end", { signal });
    return Buffer.alloc(0);
  };
  const data = async (): Promise<Buffer> => {
    const [bytes] = (await once(socket, "data", { signal })) as [Buffer];
    return bytes;
  };
  return Promise.race([data(), ended()]);
}

function connectionError({ url, host }: Endpoint, reason: unknown): RksError {
  if (reason instanceof RksError) return reason;
  const code = reason instanceof Error && "code" in reason ? String(reason.code) : "";
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return refusal(
      "SERVER_NAME_MISMATCH",
      `the certificate of the store at "${url}" is not for "${host}"`,
      reason,
    );
  }
  if (CLIENT_REFUSED.test(code)) {
    return refusal(
      "CLIENT_CERTIFICATE_REFUSED",
      `the store at "${url}" refuses the client certificate`,
      reason,
    );
  }
  if (NOT_TLS.test(code)) return notEtcd(url, reason);
  if (code.startsWith("E") && !code.startsWith("ERR_")) {
    return refusal("UNREACHABLE", `the store at "${url}" cannot be reached (${code})`, reason);
  }
  return refusal(
    "SERVER_UNTRUSTED",
    `the certificate of the store at "${url}" is not trusted (${code})`,
    reason,
  );
}

function refusal(code: keyof typeof SUGGESTIONS, message: string, cause: unknown): RksError {
  return new RksError(code, message, { suggestion: SUGGESTIONS[code], cause });
}
