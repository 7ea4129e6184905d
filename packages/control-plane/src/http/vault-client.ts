import type { RequestOptions } from "node:http";
import { assertSocketPath } from "@rk8s/host";
import { RksError, type Secret } from "@rk8s/protocol";
import { type ClientAnswer, sendRequest } from "./send-request.js";
import { timedOut, unreachable } from "./socket-failure.js";
import { refusalOf } from "./vault-refusal.js";
import { connectionFailure, httpsOptions, httpsTimedOut, type ServerTls } from "./vault-server.js";

/** Making an RSA-4096 key can take 20 s on a busy host. */
const ANSWER_TIMEOUT_MS = 60_000;
const OK_STATUSES = { from: 200, to: 299 };

/** One question to a vault. */
interface VaultCall {
  /** `LIST` is sent as a GET with `list=true`, which no proxy stops. */
  readonly method: "GET" | "LIST" | "POST" | "PATCH" | "DELETE";
  /** Without `v1/`, not encoded: `pki/cert/39:dd`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | readonly string[]>> | undefined;
  readonly body?: object | undefined;
  /** `60` or `5m`: keep the answer, and answer with a token that can fetch it once. */
  readonly wrapTtl?: string | undefined;
}

/** What a vault answered. */
export type VaultReply =
  | { readonly type: "document"; readonly document: VaultDocument }
  /** Done; there is nothing to say. */
  | { readonly type: "done" }
  /** There is nothing at the path. */
  | { readonly type: "nothing" }
  /** No JSON: a certificate, a revocation list. */
  | { readonly type: "raw"; readonly contentType: string; readonly bytes: Buffer };

/** An envelope, or one of the documents that `sys/` answers without one. */
export type VaultDocument = Readonly<Record<string, unknown>>;

/** Asks a vault, as the operator on its socket or with a token over HTTPS. */
export interface VaultClient {
  /**
   * @throws {RksError} UNREACHABLE, TIMED_OUT and CONNECTION_LOST when there is no answer; SERVER_UNTRUSTED and
   * SERVER_NAME_MISMATCH when it is not the server that was meant; else the server's own refusal.
   */
  ask(call: VaultCall): Promise<VaultReply>;
}

export interface VaultClientOptions {
  readonly token?: Secret<string> | undefined;
  readonly namespace?: string | undefined;
  /** Default: 60 s. */
  readonly timeoutMs?: number | undefined;
}

/** A client for a socket; without a token it has every right. Nothing is opened before the first question. */
export function vaultOverSocket(
  path: string,
  options: VaultClientOptions & { readonly startCommand?: string } = {},
): VaultClient {
  const startCommand = options.startCommand ?? "rks start --config FILE";
  const timeoutMs = options.timeoutMs ?? ANSWER_TIMEOUT_MS;
  return client({
    base: { socketPath: path },
    isTls: false,
    options: { ...options, timeoutMs },
    timedOut: () => timedOut(path, timeoutMs),
    failed: (cause) => unreachable(path, startCommand, cause),
    check: () => assertSocketPath(path),
  });
}

/**
 * A client for `https://host:port`. TLS 1.2 at least, and always verified: by the certificates given, else by those
 * that Node trusts.
 * @throws {RksError} CONFIG_INVALID for an address that is no HTTPS origin.
 */
export function vaultOverHttps(
  address: string,
  tls: ServerTls,
  options: VaultClientOptions = {},
): VaultClient {
  const timeoutMs = options.timeoutMs ?? ANSWER_TIMEOUT_MS;
  return client({
    base: httpsOptions(address, tls),
    isTls: true,
    options: { ...options, timeoutMs },
    timedOut: () => httpsTimedOut(address, timeoutMs),
    failed: (cause) => connectionFailure(address, tls, cause),
    check: () => undefined,
  });
}

interface ClientInit {
  readonly base: RequestOptions;
  readonly isTls: boolean;
  readonly options: VaultClientOptions & { readonly timeoutMs: number };
  readonly timedOut: () => RksError;
  readonly failed: (cause: unknown) => RksError;
  readonly check: () => void;
}

function client(init: ClientInit): VaultClient {
  return {
    async ask(call) {
      init.check();
      const { path, body } = call;
      let answer: ClientAnswer;
      try {
        answer = await sendRequest({
          options: {
            ...init.base,
            method: call.method === "LIST" ? "GET" : call.method,
            path: targetOf(call),
            headers: headersOf(call, init.options),
          },
          isTls: init.isTls,
          body: body === undefined ? undefined : JSON.stringify(body),
          timeoutMs: init.options.timeoutMs,
          timedOut: init.timedOut,
        });
      } catch (cause) {
        throw cause instanceof RksError ? cause : init.failed(cause);
      }
      return replyOf(answer, path);
    },
  };
}

function targetOf({ method, path, query = {} }: VaultCall): string {
  const encoded = path
    .split("/")
    .map((segment) => encodeURIComponent(segment).replaceAll("%3A", ":"))
    .join("/");
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    (typeof value === "string" ? [value] : value).map((one): [string, string] => [name, one]),
  );
  if (method === "LIST") pairs.push(["list", "true"]);
  const text = new URLSearchParams(pairs).toString();
  return `/v1/${encoded}${text === "" ? "" : `?${text}`}`;
}

function headersOf(
  { method, body, wrapTtl }: VaultCall,
  { token, namespace }: VaultClientOptions,
): Record<string, string> {
  const type = method === "PATCH" ? "application/merge-patch+json" : "application/json";
  return {
    "x-vault-request": "true",
    ...(body === undefined ? {} : { "content-type": type }),
    ...(token === undefined ? {} : { "x-vault-token": token.reveal() }),
    ...(namespace === undefined ? {} : { "x-vault-namespace": namespace }),
    ...(wrapTtl === undefined ? {} : { "x-vault-wrap-ttl": wrapTtl }),
  };
}

function replyOf(answer: ClientAnswer, path: string): VaultReply {
  const { status, contentType, body } = answer;
  const isDone = status >= OK_STATUSES.from && status <= OK_STATUSES.to;
  if (isDone && body.length === 0) return { type: "done" };
  if (isDone && !contentType.startsWith("application/json")) return { type: "raw", contentType, bytes: body };
  const document = documentOf(body);
  if (isDone && document !== undefined) return { type: "document", document };
  if (isDone) throw new RksError("MESSAGE_INVALID", "what answered is no vault: its answer is not JSON");
  if (status === 404 && document !== undefined) {
    // A version of a secret that was deleted is a 404 that says when that happened.
    if (typeof document["data"] === "object" && document["data"] !== null)
      return { type: "document", document };
    if (Array.isArray(document["errors"]) && document["errors"].length === 0) return { type: "nothing" };
  }
  throw refusalOf(status, document, path);
}

function documentOf(body: Buffer): VaultDocument | undefined {
  try {
    const document: unknown = JSON.parse(body.toString("utf8"));
    return typeof document === "object" && document !== null && !Array.isArray(document)
      ? (document as VaultDocument)
      : undefined;
  } catch {
    return undefined;
  }
}
