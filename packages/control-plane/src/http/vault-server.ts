import type { RequestOptions } from "node:http";
import { RksError } from "@rk8s/protocol";

/** Who the server must be, and who the client is. All PEM. */
export interface ServerTls {
  /** Undefined: what Node trusts. */
  readonly ca?: string | readonly string[] | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** The name that the certificate must have; default: that of the address. */
  readonly serverName?: string | undefined;
}

const NO_ANSWER = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ETIMEDOUT",
]);
const LOST = new Set(["ECONNRESET", "EPIPE", "ERR_STREAM_PREMATURE_CLOSE"]);
/** What OpenSSL and Node call a chain that does not verify. */
const UNTRUSTED = /^(UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|CERT_|INVALID_(CA|PURPOSE)|CERTIFICATE_)/;

/** Read an address of the environment. @throws {RksError} CONFIG_INVALID unless it is an HTTPS origin. */
function assertServerUrl(address: string): URL {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  const suggestion = "Write it like https://127.0.0.1:8200; on the host of rks --socket PATH needs no TLS.";
  if (url === undefined) {
    throw new RksError(
      "CONFIG_INVALID",
      `VAULT_ADDR ${JSON.stringify(address.slice(0, 200))} is no address`,
      {
        suggestion,
      },
    );
  }
  const shown = JSON.stringify(url.host.slice(0, 200));
  if (url.username !== "" || url.password !== "" || (url.pathname !== "/" && url.pathname !== "")) {
    throw new RksError("CONFIG_INVALID", `VAULT_ADDR for ${shown} has more than scheme, host and port`, {
      suggestion,
    });
  }
  if (url.protocol === "https:") return url;
  throw new RksError(
    "CONFIG_INVALID",
    `VAULT_ADDR for ${shown} is not https: a token would be sent in the clear`,
    { suggestion },
  );
}

/**
 * How a connection to a server is made: TLS 1.2 at least, and always verified, by the certificates given, else by those
 * that Node trusts.
 * @throws {RksError} CONFIG_INVALID unless the address is an HTTPS origin.
 */
export function httpsOptions(address: string, { serverName, ...material }: ServerTls): RequestOptions {
  const { hostname, port } = assertServerUrl(address);
  const options = {
    host: hostname.replace(/^\[(.*)\]$/, "$1"),
    port: port === "" ? 443 : Number(port),
    minVersion: "TLSv1.2",
    rejectUnauthorized: true,
    ...material,
    ...(serverName === undefined ? {} : { servername: serverName }),
  };
  return options;
}

/** What a server's deadline ends with. */
export function httpsTimedOut(address: string, timeoutMs: number): RksError {
  return new RksError("TIMED_OUT", `"${address}" did not answer within ${timeoutMs / 1000} s`, {
    suggestion: "Give it longer with VAULT_CLIENT_TIMEOUT, or see its log.",
  });
}

/** What it means that a connection to a server failed. */
export function connectionFailure(address: string, tls: ServerTls, cause: unknown): RksError {
  const errno = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const shown = JSON.stringify(address);
  if (errno === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return new RksError("SERVER_NAME_MISMATCH", `the certificate of ${shown} is for another name`, {
      cause,
      suggestion:
        "Use an address that is in it, add one with `advertise` in config.yaml, or name it in VAULT_TLS_SERVER_NAME.",
    });
  }
  if (UNTRUSTED.test(errno)) {
    return new RksError("SERVER_UNTRUSTED", `the certificate of ${shown} does not verify (${errno})`, {
      cause,
      suggestion:
        tls.ca === undefined
          ? "Name the root's file in VAULT_CACERT: root.pem in the vault folder of rks."
          : "Check that the file of VAULT_CACERT is this server's root.",
    });
  }
  if (NO_ANSWER.has(errno)) {
    return new RksError("UNREACHABLE", `nothing answers at ${shown} (${errno})`, {
      cause,
      suggestion: "Check VAULT_ADDR and that rks runs there.",
    });
  }
  if (LOST.has(errno)) {
    return new RksError("CONNECTION_LOST", `${shown} went away while it answered`, { cause });
  }
  const reason = cause instanceof Error ? cause.message.split("\n", 1)[0]?.slice(0, 200) : "";
  return new RksError("UNREACHABLE", `${shown} cannot be asked: ${reason ?? ""}`, {
    cause,
    suggestion: "Check VAULT_ADDR, and the files of VAULT_CACERT, VAULT_CLIENT_CERT and VAULT_CLIENT_KEY.",
  });
}
