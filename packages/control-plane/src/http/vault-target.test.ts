import fc from "fast-check";
import { RksError } from "@rk8s/protocol";
import { expect, test } from "vitest";
import { readTarget } from "./vault-target.js";

const pathOf = (url: string): string => readTarget(url).path;

test.each([
  { url: "/v1/pki/ca", path: "pki/ca" },
  { url: "/v1/pki/cert/39%3Add%3A01", path: "pki/cert/39:dd:01" },
  { url: "/v1/pki/cert/39:dd", path: "pki/cert/39:dd" },
  { url: "/v1/secret/a%20b", path: "secret/a b" },
  { url: "/v1/secret/%C3%BC", path: "secret/ü" },
  { url: "/v1/secret/a%2520b", path: "secret/a%20b" },
  { url: "/v1/secret/a%3Fb%23", path: "secret/a?b#" },
  { url: "/v1/secret/a+b", path: "secret/a+b" },
  { url: "/v1/secret/a/", path: "secret/a/" },
  { url: "/v1/secret//a", path: "secret//a" },
  { url: "/v1/secret/%2e%2e/a", path: "secret/../a" },
  { url: "/v1/", path: "" },
])("$url is $path", ({ url, path }) => {
  expect(pathOf(url)).toBe(path);
});

test.each([
  { url: "/v1/secret/a%2fb", code: "INPUT_INVALID" },
  { url: "/v1/secret/a%2Fb/c", code: "INPUT_INVALID" },
  { url: "/v1/secret%2Fa", code: "INPUT_INVALID" },
  { url: "/v1/secret/%ff", code: "INPUT_INVALID" },
  { url: "/v1/secret/%C3%28", code: "INPUT_INVALID" },
  { url: "/v1/secret/%", code: "INPUT_INVALID" },
  { url: "/v1/secret/%zz", code: "INPUT_INVALID" },
  { url: "/v1/secret/\u00fc", code: "INPUT_INVALID" },
  { url: "/v1/secret/a b", code: "INPUT_INVALID" },
  { url: "/v1%2fsecret/a", code: "NOT_FOUND" },
  { url: "/%76%31/secret/a", code: "NOT_FOUND" },
  { url: "//v1/secret/a", code: "NOT_FOUND" },
  { url: "/v2/secret", code: "NOT_FOUND" },
  { url: "http://x/v1/secret", code: "NOT_FOUND" },
  { url: "*", code: "NOT_FOUND" },
])("$url is refused with $code", ({ url, code }) => {
  expect(() => readTarget(url)).toThrow(expect.objectContaining({ code }));
});

test("the query is what follows the first question mark", () => {
  expect([...(readTarget("/v1/a?b=1&c=%2F?").query ?? [])]).toEqual([
    ["b", "1"],
    ["c", "/?"],
  ]);
  expect(readTarget("/v1/a").query).toBeUndefined();
});

/** A SEQUENCE whose base64 has `/`, `//` and `+`. */
const REQUEST = Buffer.from([0x30, 0x0a, 0xff, 0xff, 0xff, 0xff, 0xfb, 0xef, 0xbe, 0xff, 0xff, 0xfe]);
const BASE64 = REQUEST.toString("base64");
const URL_SAFE = REQUEST.toString("base64url");

test("the request of the test is what it should be", () => {
  expect(BASE64).toMatch(/\/\//);
  expect(BASE64).toContain("+");
});

test.each([
  { name: "plain", written: BASE64 },
  { name: "percent-encoded", written: encodeURIComponent(BASE64) },
  { name: "percent-encoded in lower case", written: BASE64.replaceAll("/", "%2f").replaceAll("+", "%2b") },
  { name: "without padding", written: BASE64.replaceAll("=", "") },
  { name: "in the URL-safe alphabet", written: URL_SAFE },
])("an OCSP request in a GET, $name, is one segment", ({ written }) => {
  expect(pathOf(`/v1/pki/ocsp/${written}`)).toBe(`pki/ocsp/${URL_SAFE}`);
  expect(pathOf(`/v1/a/pki/ocsp/${written}?x=1`)).toBe(`a/pki/ocsp/${URL_SAFE}`);
});

test.each([
  { name: "a long one", bytes: Buffer.concat([Buffer.from([0x30, 0x81, 200]), Buffer.alloc(200, 0xff)]) },
  { name: "a longer one", bytes: Buffer.concat([Buffer.from([0x30, 0x82, 1, 44]), Buffer.alloc(300, 0xff)]) },
])("so is $name", ({ bytes }) => {
  expect(pathOf(`/v1/pki/ocsp/${bytes.toString("base64")}`)).toBe(`pki/ocsp/${bytes.toString("base64url")}`);
});

test.each([
  { name: "a secret below a folder ocsp", url: "/v1/secret/data/ocsp/a/b", path: "secret/data/ocsp/a/b" },
  { name: "a request with a byte too many", url: "/v1/pki/ocsp/MAEBAQ", path: "pki/ocsp/MAEBAQ" },
])("$name is a path like any other", ({ url, path }) => {
  expect(pathOf(url)).toBe(path);
});

test("an escaped slash below a folder ocsp is still refused when it is no request", () => {
  expect(() => readTarget("/v1/secret/ocsp/a%2fb")).toThrow(
    expect.objectContaining({ code: "INPUT_INVALID" }),
  );
});

test("what was encoded segment by segment is decoded to the same, once", () => {
  const segment = fc
    .string({ minLength: 1, maxLength: 20, unit: "binary" })
    .filter((text) => !text.includes("/") && !/\p{Cs}/u.test(text));
  fc.assert(
    fc.property(fc.array(segment, { minLength: 1, maxLength: 5 }), (segments) => {
      fc.pre(!segments.includes("ocsp"));
      expect(pathOf(`/v1/${segments.map(encodeURIComponent).join("/")}`)).toBe(segments.join("/"));
    }),
  );
});

function isReadOrRefused(url: string): boolean {
  try {
    return typeof pathOf(url) === "string";
  } catch (reason) {
    return reason instanceof RksError;
  }
}

test("any URL is read or refused with a code", () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 60 }), (rest) => {
      expect(isReadOrRefused(`/v1/${rest}`)).toBe(true);
    }),
  );
});
