import { formatDuration } from "@rk8s/protocol";
import type { VaultDocument } from "../../http/vault-client.js";

/** One field of an answer under the name that the `vault` command gives it. */
export type Row = readonly [name: string, value: unknown];

/**
 * What an answer says, field by field: of its wrapping token, its login and its lease under the names that people know,
 * then its data in the order of the alphabet. A document without an envelope is its own data.
 */
export function rowsOf(document: VaultDocument): readonly Row[] {
  if (!("request_id" in document)) return sorted(document);
  const wrapped = objectAt(document, "wrap_info");
  if (wrapped !== undefined) return wrappingRows(wrapped);
  const auth = objectAt(document, "auth");
  return [
    ...(auth === undefined ? [] : authRows(auth)),
    ...leaseRows(document),
    ...sorted(objectAt(document, "data") ?? {}),
  ];
}

/** The data of an answer; empty when it has none. */
export function dataOf(document: VaultDocument): VaultDocument {
  return "request_id" in document ? (objectAt(document, "data") ?? {}) : document;
}

/** The texts of a list: of `keys`, unless another name is given. */
export function textsAt(data: VaultDocument, name = "keys"): readonly string[] {
  const value = data[name];
  return Array.isArray(value) ? value.map((one) => cellOf(one)) : [];
}

/** The object that a member is; undefined when it is something else. */
export function objectAt(document: VaultDocument, name: string): VaultDocument | undefined {
  const value = document[name];
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as VaultDocument)
    : undefined;
}

/** A value as a table shows it: texts as they are, lists in brackets, everything deeper as JSON. */
export function cellOf(value: unknown): string {
  if (value === null || value === undefined) return "n/a";
  if (typeof value === "string") return value;
  const isPlainList = Array.isArray(value) && value.every((one) => typeof one !== "object");
  return isPlainList ? `[${value.map(cellOf).join(" ")}]` : JSON.stringify(value);
}

function wrappingRows(info: VaultDocument): readonly Row[] {
  const rows: Row[] = [
    ["wrapping_token", info["token"]],
    ["wrapping_accessor", info["accessor"]],
    ["wrapping_token_ttl", durationOf(info["ttl"])],
    ["wrapping_token_creation_time", info["creation_time"]],
    ["wrapping_token_creation_path", info["creation_path"]],
  ];
  const accessor = info["wrapped_accessor"];
  return accessor === undefined || accessor === "" ? rows : [...rows, ["wrapped_accessor", accessor]];
}

function authRows(auth: VaultDocument): readonly Row[] {
  const meta = Object.entries(objectAt(auth, "metadata") ?? {});
  return [
    ["token", auth["client_token"]],
    ["token_accessor", auth["accessor"]],
    ["token_duration", durationOf(auth["lease_duration"])],
    ["token_renewable", auth["renewable"]],
    ["token_policies", auth["token_policies"] ?? []],
    ["identity_policies", auth["identity_policies"] ?? []],
    ["policies", auth["policies"] ?? []],
    ...meta.map(([name, value]): Row => [`token_meta_${name}`, value]),
  ];
}

function leaseRows(document: VaultDocument): readonly Row[] {
  if (document["lease_id"] === "" || document["lease_id"] === undefined) return [];
  return [
    ["lease_id", document["lease_id"]],
    ["lease_duration", durationOf(document["lease_duration"])],
    ["lease_renewable", document["renewable"]],
  ];
}

/** 0 stands for what never ends. */
function durationOf(seconds: unknown): unknown {
  if (typeof seconds !== "number") return seconds;
  return seconds === 0 ? "∞" : formatDuration(seconds);
}

function sorted(data: VaultDocument): readonly Row[] {
  return Object.entries(data).toSorted(([a], [b]) => (a < b ? -1 : 1));
}
