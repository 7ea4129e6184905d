import { timingSafeEqual } from "node:crypto";

import { Secret } from "@rk8s/protocol";

import type { CanonicalRequest, VaultRequest } from "../request.js";

const LOOKUP = "sys/wrapping/lookup";
const UNWRAP = "sys/wrapping/unwrap";
const REWRAP = "sys/wrapping/rewrap";

/** A request as it goes on, and whether its token is one of a wrapped answer, or should be. */
export interface WrappingRequest {
  readonly request: CanonicalRequest;
  readonly isWrappingToken: boolean;
}

/**
 * Wrapping tokens come as the token of the request or as a field, and some clients give both or only the field: make one
 * of the two of it. To wrap anew takes a token besides. All other requests stay as they are.
 */
export function readWrappingRequest(request: CanonicalRequest): WrappingRequest {
  const { path, data = {} } = request;
  const isLookup = path === LOOKUP;
  if (!isLookup && path !== UNWRAP && path !== REWRAP) return { request, isWrappingToken: false };
  const field = data["token"];
  const given = typeof field === "string" ? field : "";
  const own = tokenText(request.clientToken);
  if (isLookup) {
    const token = given === "" ? own : given;
    return { request: { ...request, data: { ...data, token } }, isWrappingToken: false };
  }
  const isOther = given !== "" && (path === REWRAP || (own !== "" && !isSame(given, own)));
  if (isOther) return { request, isWrappingToken: false };
  const { token: _token, ...rest } = data;
  const clientToken = given === "" ? own : given;
  return { request: { ...request, clientToken, data: rest }, isWrappingToken: true };
}

/** The text of a token that was given as text, as a secret or not at all. */
export function tokenText(token: VaultRequest["clientToken"]): string {
  return token instanceof Secret ? token.reveal() : (token ?? "");
}

function isSame(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
