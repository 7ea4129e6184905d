import { isIP } from "node:net";
import { RksError } from "@rk8s/protocol";
import { assertStorePrefix } from "@rk8s/storage";
import { parseHostPort } from "./address.js";

/** Etcd's port for clients. */
const DEFAULT_PORT = 2379;
/** Of keys in a store that others may use too; rk8s' own. */
export const DEFAULT_STORE_PREFIX = "/rk8s";
/** Etcd advises at most seven members; proxies and a second address each leave room. */
export const MAX_STORE_ENDPOINTS = 32;

/**
 * Read where a member of a store is: `https://host:port`, or `host:port` for the same. In clear (`http:`) only on loopback.
 * Gives the URL in its shortest form.
 * @throws {RksError} INPUT_INVALID naming the text.
 */
export function parseStoreEndpoint(text: string): string {
  const [, scheme = "https", rest] = /^(?:([a-z]+):\/\/)?([^/]*)\/?$/i.exec(text) ?? [];
  if (rest === undefined || !["http", "https"].includes(scheme.toLowerCase())) throw refused(text);
  const withPort = /:\d+$/.test(rest) && !rest.endsWith("]") ? rest : `${rest}:${DEFAULT_PORT}`;
  const { host, port } = endpointAddress(withPort, text);
  if (port === 0) throw refused(text);
  if (scheme.toLowerCase() === "http" && !isLoopback(host)) {
    throw new RksError("INPUT_INVALID", `"${text}" would be asked in clear, which is for loopback only`, {
      suggestion: "Use https:// with the certificates that `rks gen certs` makes.",
    });
  }
  return `${scheme.toLowerCase()}://${withPort.toLowerCase()}`;
}

/** Host and port of an endpoint that `parseStoreEndpoint` gave. */
export function hostPortOfEndpoint(endpoint: string): { readonly host: string; readonly port: number } {
  return parseHostPort(endpoint.replace(/^https?:\/\//, ""));
}

/** Read what stands before every key of a store. @throws {RksError} as `assertStorePrefix`. */
export function parseStorePrefix(text: string): string {
  assertStorePrefix(text);
  return text;
}

function endpointAddress(address: string, text: string): { readonly host: string; readonly port: number } {
  try {
    return parseHostPort(address);
  } catch {
    throw refused(text);
  }
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}

/** Etcd's members take no name and password in a URL; who writes one there must not read it in a log. */
function withoutUser(text: string): string {
  return text.replace(/\/\/[^/]*@/, "//…@");
}

function refused(text: string): RksError {
  return new RksError(
    "INPUT_INVALID",
    `${JSON.stringify(withoutUser(text).slice(0, 280))} is not like https://store-1:2379`,
    {
      suggestion: "Write https://host:port for each member.",
    },
  );
}
