import { createHmac } from "node:crypto";

import fc from "fast-check";
import { expect, test } from "vitest";

import { ValueHash } from "./value-hash.js";

const salt = Buffer.alloc(32, 7);
const hash = new ValueHash({ salt, isRaw: false });
const raw = new ValueHash({ salt, isRaw: true });
const nothing = (): boolean => false;
const everything = (): boolean => true;

test("a text becomes the HMAC-SHA-256 of it with the salt", () => {
  const expected = createHmac("sha256", salt).update("a secret").digest("hex");
  expect(hash.of("a secret")).toBe(`hmac-sha256:${expected}`);
  expect(hash.data({ x: "a secret" }, nothing)).toEqual({ x: `hmac-sha256:${expected}` });
});

test("names, numbers, truth values and nothing stay; texts are hashed at any depth", () => {
  const data = {
    n: 3,
    yes: true,
    no: null,
    gone: undefined,
    list: ["a", 1, ["b"]],
    inner: { x: "c", y: { z: "d" } },
  };
  expect(hash.data(data, nothing)).toEqual({
    n: 3,
    yes: true,
    no: null,
    list: [hash.of("a"), 1, [hash.of("b")]],
    inner: { x: hash.of("c"), y: { z: hash.of("d") } },
  });
});

test("fields in clear are in clear with all that is below them", () => {
  const data = { certificate: "A", ca_chain: ["B", "C"], other: "D", inner: { certificate: "E" } };
  expect(hash.data(data, (field) => field === "certificate" || field === "ca_chain")).toEqual({
    certificate: "A",
    ca_chain: ["B", "C"],
    other: hash.of("D"),
    inner: { certificate: hash.of("E") },
  });
});

const key = "-----BEGIN EC PRIVATE KEY-----\nAA==\n-----END EC PRIVATE KEY-----";

test.each([
  { name: "a field called private_key", data: { private_key: "MHcC" } },
  { name: "a private key below a field in clear", data: { data: { private_key: ["MHcC"] } } },
  {
    name: "a key in a bundle with its certificate",
    data: { certificate: `${key}\n-----BEGIN CERTIFICATE-----` },
  },
  { name: "an encrypted key", data: { csr: "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==" } },
  { name: "a token", data: { token: "hvs.x" } },
])("$name is hashed though all is in clear or raw", ({ data }) => {
  const shown = JSON.stringify([hash.data(data, everything), raw.data(data, nothing)]);
  expect(shown).not.toMatch(/MHcC|AA==|hvs/);
  expect(shown.match(/hmac-sha256/g)).toHaveLength(2);
});

test("raw data is left as it is", () => {
  expect(raw.data({ a: "b", c: [{ d: "e" }] }, nothing)).toEqual({ a: "b", c: [{ d: "e" }] });
});

test("bytes are hashed as bytes", () => {
  expect(hash.data({ a: Buffer.from("abc") }, everything)).toEqual({ a: hash.of("abc") });
});

test("a long value in clear is hashed", () => {
  const long = "x".repeat(16_385);
  expect(hash.data({ a: long, b: long.slice(1) }, everything)).toEqual({
    a: hash.of(long),
    b: long.slice(1),
  });
});

function nested(depth: number): unknown {
  let value: unknown = "x";
  for (let level = 0; level < depth; level += 1) value = [value];
  return value;
}

test.each([
  { name: "a list of very many values", value: Array.from({ length: 1025 }, () => "x") },
  { name: "many lists", value: Array.from({ length: 40 }, () => Array.from({ length: 40 }, () => "x")) },
  { name: "deep nesting", value: nested(40) },
  { name: "very long names", value: { ["n".repeat(300_000)]: 1 } },
])("$name becomes one hash, of its JSON, and its neighbours do not", ({ value }) => {
  expect(hash.data({ value, b: ["x"] }, everything)).toEqual({
    value: hash.of(JSON.stringify(value)),
    b: ["x"],
  });
});

test("fields share what may be hashed one by one", () => {
  const list = Array.from({ length: 1000 }, () => 1);
  const copy = hash.data({ first: list, second: list, third: [1] }, nothing);
  expect(copy).toEqual({ first: list, second: hash.of(JSON.stringify(list)), third: [1] });
});

test("data with very many fields becomes one hash", () => {
  const data = Object.fromEntries(Array.from({ length: 513 }, (_, index) => [`f${index}`, index]));
  expect(hash.data(data, nothing)).toBe(hash.of(JSON.stringify(data)));
});

test("nesting without end does not end the process", () => {
  expect(hash.data({ value: nested(200_000) }, nothing)).toHaveProperty("value");
});

test("a long name is hashed, and __proto__ is a name as any other", () => {
  const name = "n".repeat(257);
  const data = JSON.parse(`{"${name}": 1, "__proto__": "x"}`) as object;
  expect(JSON.stringify(hash.data(data, nothing))).toBe(
    `{"${hash.of(name)}":1,"__proto__":"${hash.of("x")}"}`,
  );
});

test.each([
  { name: "no quote", text: "permission denied", shown: "permission denied" },
  { name: "a value", text: 'field "a" is bad', shown: `field ${hash.of('"a" is bad')}` },
  {
    name: "a cut value",
    text: 'expected a list, got "s3cr',
    shown: `expected a list, got ${hash.of('"s3cr')}`,
  },
])("an error with $name is in clear up to its first quote", ({ text, shown }) => {
  expect(hash.prose(text, false)).toBe(shown);
  expect([hash.prose(text, true), raw.prose(text, false)]).toEqual([text, text]);
});

test("tokens are hashed in paths and texts whatever else is in clear", () => {
  const token = `hvs.${"A".repeat(43)}`;
  expect(hash.withoutTokens(`auth/token/lookup/${token}/x`)).toBe(`auth/token/lookup/${hash.of(token)}/x`);
  expect(hash.prose(`bad ${token}`, true)).toBe(`bad ${hash.of(token)}`);
  expect(hash.withoutTokens("a/my-own-token/b", "my-own-token")).toBe(`a/${hash.of("my-own-token")}/b`);
  expect(hash.withoutTokens("pki/roles/hvs.web")).toBe("pki/roles/hvs.web");
});

/** Texts that are in no name and no hash. */
const secret = fc.stringMatching(/^S![A-Za-z0-9"\\ ]{6,40}$/);
const json = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 5 },
    secret,
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie("value"), { maxLength: 5 }),
    fc.dictionary(fc.stringMatching(/^[a-z_]{1,8}$/), tie("value"), { maxKeys: 5 }),
  ),
}));

test("no text of any data is left, every hash is one of a text in it, and all else is unchanged", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.stringMatching(/^[a-z_]{1,8}$/), json.value), (data) => {
      const shown = JSON.stringify(hash.data(data, nothing));
      expect(shown).not.toContain("S!");
      const expected = JSON.stringify(data, (_, value: unknown) =>
        typeof value === "string" ? hash.of(value) : value,
      );
      expect(JSON.parse(shown)).toEqual(JSON.parse(expected));
    }),
  );
});
