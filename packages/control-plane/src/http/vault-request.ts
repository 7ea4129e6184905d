import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { parseDuration, RksError, Secret } from "@rk8s/protocol";
import type { Connection, JsonObject, Operation } from "../vault/backend.js";
import type { VaultRequest } from "../vault/request.js";
import { LIST_METHOD, SCAN_METHOD } from "./list-verb.js";
import { fieldsOf, mediaType, MERGE_PATCH_TYPE, readFields } from "./vault-body.js";
import { readTarget } from "./vault-target.js";

/** Where clients put their token; the first that is there counts. `Authorization` stands after the first of them. */
const TOKEN_HEADER = "x-vault-token";
const OTHER_TOKEN_HEADERS = ["x-rustyvault-token", "x-auth-token"] as const;
const BEARER = /^bearer +(\S+)$/i;
/** As Vault reads booleans of a query. */
const TRUE = new Set(["1", "t", "T", "true", "TRUE", "True"]);
/** Of a query, what chooses the operation; the rest are fields. */
const OPERATION_NAMES = ["list", "scan", "help"] as const;
/** Where `X-Vault-Namespace` may point: at the only namespace there is. */
const ROOT_NAMESPACES = new Set(["", "/", "root", "root/"]);
const MAX_WRAP_TTL_SECONDS = 32 * 86_400;

export interface VaultRequestInit {
  readonly body: Uint8Array | undefined;
  /** What a request without a token may do: see `VaultRequest.authority`. */
  readonly authority: VaultRequest["authority"];
  readonly connection: Connection;
}

/**
 * Read an HTTP request as one to the vault.
 * @throws {RksError} INPUT_INVALID, MESSAGE_TOO_LARGE, NOT_FOUND, UNSUPPORTED for a method that no path takes; see
 *   `assertPatchType` for the one that is not here.
 */
export function readVaultRequest(request: IncomingMessage, init: VaultRequestInit): VaultRequest {
  const { headers } = request;
  const { path, query } = readTarget(request.url ?? "/");
  assertRootNamespace(headers);
  const operation = operationOf(request.method ?? "", query);
  const token = tokenOf(headers);
  return {
    operation,
    path,
    data: takesBody(operation) ? readFields(init.body, headers["content-type"]) : queryFields(query),
    clientToken: token === undefined ? undefined : new Secret(token),
    wrapTtlSeconds: wrapTtl(headers),
    authority: init.authority,
    connection: init.connection,
  };
}

/** The token of a request, from the first header that has one. */
export function tokenOf(headers: IncomingHttpHeaders): string | undefined {
  const first = text(headers[TOKEN_HEADER]);
  if (first !== undefined) return first;
  const bearer = BEARER.exec(headers.authorization ?? "")?.[1];
  if (bearer !== undefined) return bearer;
  for (const name of OTHER_TOKEN_HEADERS) {
    const other = text(headers[name]);
    if (other !== undefined) return other;
  }
  return undefined;
}

/** Whether a PATCH says that its body is a merge patch; every other one is 415. */
export function isUnknownPatch(request: IncomingMessage): boolean {
  return request.method === "PATCH" && mediaType(request.headers["content-type"]) !== MERGE_PATCH_TYPE;
}

function operationOf(method: string, query: URLSearchParams | undefined): Operation {
  switch (method) {
    case "GET":
      return query === undefined ? "read" : questionOf(query);
    case "HEAD":
      return "read";
    case LIST_METHOD:
      return "list";
    case SCAN_METHOD:
      return "scan";
    case "POST":
    case "PUT":
      return "update";
    case "PATCH":
      return "patch";
    case "DELETE":
      return "delete";
    default:
      throw new RksError("UNSUPPORTED", `unsupported operation: no path takes ${JSON.stringify(method)}`, {
        suggestion: "Use GET, LIST, POST, PUT, PATCH or DELETE.",
      });
  }
}

function questionOf(query: URLSearchParams): Operation {
  for (const name of ["help", "list", "scan"] as const) if (TRUE.has(query.get(name) ?? "")) return name;
  return "read";
}

function takesBody(operation: Operation): boolean {
  return operation === "update" || operation === "patch";
}

function queryFields(query: URLSearchParams | undefined): JsonObject {
  if (query === undefined) return {};
  for (const name of OPERATION_NAMES) query.delete(name);
  return fieldsOf(query);
}

/** Seconds, or a duration; nothing and 0 mean that the answer is not wrapped. */
function wrapTtl(headers: IncomingHttpHeaders): number | undefined {
  const given = text(headers["x-vault-wrap-ttl"]);
  if (given === undefined) return undefined;
  const format = text(headers["x-vault-wrap-format"]) ?? "";
  if (format !== "" && format !== "uuid") {
    throw new RksError(
      "INPUT_INVALID",
      `wrapping format ${JSON.stringify(format.slice(0, 40))} is not known`,
      {
        suggestion: "Leave out X-Vault-Wrap-Format.",
      },
    );
  }
  const seconds = /^\d{1,9}$/.test(given) ? Number(given) : durationOf(given);
  if (seconds !== undefined && seconds <= MAX_WRAP_TTL_SECONDS) return seconds === 0 ? undefined : seconds;
  throw new RksError(
    "INPUT_INVALID",
    `wrapping lifetime ${JSON.stringify(given.slice(0, 40))} is not like 60, 60s or 5m, of 32 days at most`,
    { suggestion: "Correct X-Vault-Wrap-TTL." },
  );
}

function durationOf(given: string): number | undefined {
  try {
    return parseDuration(given);
  } catch {
    return undefined;
  }
}

function assertRootNamespace(headers: IncomingHttpHeaders): void {
  const namespace = headers["x-vault-namespace"];
  if (namespace === undefined || (typeof namespace === "string" && ROOT_NAMESPACES.has(namespace))) return;
  throw new RksError(
    "INPUT_INVALID",
    `there is no namespace ${JSON.stringify(String(namespace).slice(0, 80))}`,
    {
      suggestion: "Leave out X-Vault-Namespace: there is one namespace only.",
    },
  );
}

function text(header: string | readonly string[] | undefined): string | undefined {
  const first = typeof header === "string" ? header : header?.[0];
  return first === undefined || first === "" ? undefined : first;
}
