import { RksError } from "@rk8s/protocol";

/** Where the vault's paths begin. */
export const API_PREFIX = "/v1/";

/** What a request's URL asks for. */
export interface Target {
  /** Decoded, without the prefix: `pki/cert/39:dd`. */
  readonly path: string;
  readonly query: URLSearchParams | undefined;
}

const PLAIN = /^[\u0021-\u007e]*$/;
const OCSP_GET = /^(.*\/ocsp)\/(.+)$/;
const BASE64 = /^[A-Za-z0-9+/_-]+={0,2}$/;
const DER_SEQUENCE = 0x30;

/**
 * Read the URL of a request to the vault. Each segment is percent-decoded once; a decoded segment that has a slash is
 * refused, because a policy for `a/b` and one for the segment `a%2fb` could not be told apart. The one exception is an
 * OCSP request in a GET (RFC 6960 A.1): its base64 becomes one segment in the URL-safe alphabet.
 * @throws {RksError} INPUT_INVALID for what does not decode; NOT_FOUND outside of `/v1/`.
 */
export function readTarget(url: string): Target {
  const mark = url.indexOf("?");
  const whole = mark === -1 ? url : url.slice(0, mark);
  if (!PLAIN.test(url)) throw undecodable(whole);
  if (!whole.startsWith(API_PREFIX)) {
    throw new RksError("NOT_FOUND", `there is nothing at ${show(whole)}`, {
      suggestion: `The API is below "${API_PREFIX}".`,
    });
  }
  const raw = whole.slice(API_PREFIX.length);
  const path = ocspPath(raw) ?? (raw.includes("%") ? decodeSegments(raw) : raw);
  return { path, query: mark === -1 ? undefined : new URLSearchParams(url.slice(mark + 1)) };
}

function decodeSegments(raw: string): string {
  const segments = raw.split("/").map((segment) => decode(segment, raw));
  if (segments.some((segment) => segment.includes("/"))) throw undecodable(raw);
  return segments.join("/");
}

function decode(text: string, raw: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw undecodable(raw);
  }
}

/** The path of an OCSP request in a GET; undefined for every other path. */
function ocspPath(raw: string): string | undefined {
  const [, mount, rest] = OCSP_GET.exec(raw) ?? [];
  if (mount === undefined || rest === undefined) return undefined;
  const text = decode(rest, raw);
  if (!BASE64.test(text)) return undefined;
  const request = Buffer.from(text, "base64");
  return isWholeSequence(request) ? `${decodeSegments(mount)}/${request.toString("base64url")}` : undefined;
}

/** Whether bytes are one DER SEQUENCE with nothing after it. */
function isWholeSequence(bytes: Uint8Array): boolean {
  const [tag, first = 0, second = 0, third = 0] = bytes;
  if (tag !== DER_SEQUENCE) return false;
  if (first < 0x80) return bytes.length === 2 + first;
  if (first === 0x81) return bytes.length === 3 + second;
  return first === 0x82 && bytes.length === 4 + second * 256 + third;
}

function undecodable(raw: string): RksError {
  return new RksError("INPUT_INVALID", `the path ${show(raw)} cannot be decoded`, {
    suggestion: "Percent-encode UTF-8, and no slash within a segment.",
  });
}

function show(text: string): string {
  return JSON.stringify(text.slice(0, 200));
}
