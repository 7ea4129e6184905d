import { constants } from "node:crypto";
import { createServer, type Server } from "node:https";
import type { TlsOptions } from "node:tls";
import { RksError } from "@rk8s/protocol";
import type { HttpAppInit } from "./http-app.js";
import { type HttpListenerPorts, openHttpListener, serverOptions } from "./http-listener.js";
import { HTTP_LIMITS, type HttpLimits } from "./http-limits.js";

/** What a server proves its name with, PEM. */
export interface ServerIdentity {
  /** Leaf first. */
  readonly certificates: Uint8Array;
  /** The caller's to wipe once it was handed over. */
  readonly privateKey: Uint8Array;
}

export interface HttpsServerInit extends Pick<HttpAppInit, "routes" | "api"> {
  /** An IP address or host name. */
  readonly host: string;
  /** 0 picks one. */
  readonly port: number;
  readonly identity: ServerIdentity;
  /** What closing waits for requests that are being answered. */
  readonly drainMs: number;
  /** Default: HTTP_LIMITS. */
  readonly limits?: HttpLimits;
}

/** A listener over HTTPS. Disposing it closes it. */
export interface HttpsServer extends AsyncDisposable {
  readonly port: number;
  /** Use another certificate for connections that begin from now on. @throws {RksError} CONFIG_INVALID, and nothing changes. */
  useIdentity(identity: ServerIdentity): void;
}

/**
 * Serve over HTTPS until disposed: TLS 1.2 and newer, no resumption, so that every connection shows its certificate
 * anew. Clients are asked for a certificate and need none; nobody verifies it here.
 * @throws {RksError} UNAVAILABLE when the address cannot be bound, CONFIG_INVALID for an identity that is none.
 */
export async function serveHttps(init: HttpsServerInit, ports: HttpListenerPorts): Promise<HttpsServer> {
  const { limits = HTTP_LIMITS } = init;
  const server = asRksError(() =>
    createServer({ ...serverOptions(limits), ...tlsOptions(limits), ...contextOptions(init.identity) }),
  );
  server.timeout = limits.idleTimeoutMs;
  const room = { maxConnections: limits.maxHttpsConnections, maxPerAddress: limits.maxConnectionsPerAddress };
  const listener = await openHttpListener(
    server,
    { ...init, ...room, listener: "https", caller: "nobody" },
    ports,
    () => listen(server, init),
  );
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : init.port,
    useIdentity: (identity) => asRksError(() => server.setSecureContext(contextOptions(identity))),
    [Symbol.asyncDispose]: () => listener[Symbol.asyncDispose](),
  };
}

/** Besides what belongs to a context. */
function tlsOptions(limits: HttpLimits): TlsOptions {
  return {
    requestCert: true,
    // Whose certificate it is, the login method decides.
    rejectUnauthorized: false,
    handshakeTimeout: limits.handshakeTimeoutMs,
    ALPNProtocols: ["http/1.1"],
  };
}

function contextOptions({ certificates, privateKey }: ServerIdentity): {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly minVersion: "TLSv1.2";
  readonly secureOptions: number;
} {
  return {
    cert: Buffer.from(certificates.buffer, certificates.byteOffset, certificates.length),
    key: Buffer.from(privateKey.buffer, privateKey.byteOffset, privateKey.length),
    minVersion: "TLSv1.2",
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
  };
}

function listen(server: Server, { host, port }: HttpsServerInit): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (cause: Error): void => {
      reject(
        new RksError("UNAVAILABLE", `cannot listen at "${host}" port ${port}: ${cause.message}`, {
          cause,
          suggestion: "Choose another http_addr, or end what listens there.",
        }),
      );
    };
    server.once("error", failed);
    server.listen(port, host, () => {
      server.off("error", failed);
      resolve();
    });
  });
}

/** OpenSSL's own message says what is wrong with the files and holds nothing of the key. */
function asRksError<T>(use: () => T): T {
  try {
    return use();
  } catch (cause) {
    throw new RksError(
      "CONFIG_INVALID",
      `the certificate and key for HTTPS do not work: ${(cause as Error).message}`,
      {
        cause,
        suggestion: "Give a certificate with its chain, leaf first, and its private key, both in PEM.",
      },
    );
  }
}
