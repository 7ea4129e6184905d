import fc from "fast-check";
import { RksError } from "@rk8s/protocol";
import { describe, expect, test } from "vitest";
import { HTTP_LIMITS } from "./http-limits.js";
import { fieldsOf, mediaType, readFields } from "./vault-body.js";

const FORM = "application/x-www-form-urlencoded";
const JSON_TYPE = "application/json";
const bytes = (text: string): Uint8Array => Buffer.from(text);

test.each([
  { name: "JSON", type: JSON_TYPE, body: '{"a":1}', fields: { a: 1 } },
  { name: "JSON that curl -d calls a form", type: FORM, body: '{"a":"b=c&d"}', fields: { a: "b=c&d" } },
  { name: "JSON after blanks, called a form", type: FORM, body: ' \r\n\t{"a":1}', fields: { a: 1 } },
  { name: "JSON without a type", type: undefined, body: '{"a":1}', fields: { a: 1 } },
  { name: "JSON called text", type: "text/plain", body: '{"a":1}', fields: { a: 1 } },
  { name: "a real form", type: FORM, body: "a=1&b=x+y%21&c=", fields: { a: "1", b: "x y!", c: "" } },
  { name: "a form with a name twice", type: FORM, body: "a=1&a=2&a=3", fields: { a: ["1", "2", "3"] } },
  { name: "no body", type: JSON_TYPE, body: "", fields: {} },
  { name: "nothing but blanks", type: JSON_TYPE, body: " \n", fields: {} },
  { name: "an empty object", type: undefined, body: "{}", fields: {} },
  { name: "members that are null", type: JSON_TYPE, body: '{"a":null}', fields: { a: null } },
  { name: "a member twice, the last counts", type: JSON_TYPE, body: '{"a":1,"a":2}', fields: { a: 2 } },
  {
    name: "a string that looks like bounds",
    type: JSON_TYPE,
    body: '{"a":"[[[[\\"{{"}',
    fields: { a: '[[[["{{' },
  },
  { name: "a value __proto__", type: JSON_TYPE, body: '{"a":"__proto__"}', fields: { a: "__proto__" } },
])("reads $name", ({ type, body, fields }) => {
  expect(readFields(bytes(body), type)).toEqual(fields);
});

test("nothing at all has no fields", () => {
  expect(readFields(undefined, undefined)).toEqual({});
});

test("an OCSP request is handed on as bytes, a huge one is refused", () => {
  const request = new Uint8Array([0x30, 0x03, 0xff, 0x00, 0x7b]);
  expect(readFields(request, "application/ocsp-request")).toEqual({ request });
  const huge = new Uint8Array(HTTP_LIMITS.maxOcspRequestBytes + 1);
  expect(() => readFields(huge, "application/ocsp-request")).toThrow(
    expect.objectContaining({ code: "MESSAGE_TOO_LARGE" }),
  );
});

const deep = (levels: number): string => `{"a":${"[".repeat(levels)}${"]".repeat(levels)}}`;

describe("refused", () => {
  test.each([
    { name: "an array", type: JSON_TYPE, body: "[]" },
    { name: "an array called a form", type: FORM, body: "[1]" },
    { name: "a text", type: JSON_TYPE, body: '"a"' },
    { name: "a number", type: undefined, body: "7" },
    { name: "null", type: JSON_TYPE, body: "null" },
    { name: "half an object", type: JSON_TYPE, body: '{"a":' },
    { name: "two objects", type: JSON_TYPE, body: "{}{}" },
    { name: "words", type: JSON_TYPE, body: "hello" },
    { name: "a zero byte", type: JSON_TYPE, body: "\u0000" },
    { name: "too deep", type: JSON_TYPE, body: deep(HTTP_LIMITS.maxJsonDepth) },
    { name: "a million brackets", type: JSON_TYPE, body: `{"a":${"[".repeat(1_000_000)}` },
    { name: "too many values", type: JSON_TYPE, body: `{"a":[${"1,".repeat(HTTP_LIMITS.maxJsonValues)}1]}` },
    { name: "too many names of a form", type: FORM, body: "a=1&".repeat(HTTP_LIMITS.maxQueryValues + 1) },
    { name: "a member __proto__", type: JSON_TYPE, body: '{"__proto__":{"a":1}}' },
    { name: "a hidden member __proto__", type: JSON_TYPE, body: '{"a":[{"\\u005f_proto__":1}]}' },
    { name: "a form's __proto__", type: FORM, body: "__proto__=1" },
  ])("$name", ({ type, body }) => {
    expect(() => readFields(bytes(body), type)).toThrow(expect.objectContaining({ code: "INPUT_INVALID" }));
  });

  test("without repeating what was sent", () => {
    expect(() => readFields(bytes('{"key":"secret-share'), JSON_TYPE)).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining("secret") }),
    );
  });
});

test("as deep as is allowed is allowed", () => {
  expect(readFields(bytes(deep(HTTP_LIMITS.maxJsonDepth - 1)), JSON_TYPE)).toHaveProperty("a");
});

test("any bytes under any name are read or refused with a code", () => {
  const types = fc.constantFrom(undefined, JSON_TYPE, FORM, "application/ocsp-request", "x");
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), types, (body, type) => {
      expect(outcome(() => readFields(body, type))).toBe(true);
    }),
  );
});

/** Whether something gives an object or fails with a code. */
function outcome(read: () => unknown): boolean {
  try {
    return typeof read() === "object";
  } catch (reason) {
    return reason instanceof RksError;
  }
}

test("any object of JSON comes through as it is", () => {
  fc.assert(
    fc.property(
      fc.dictionary(
        fc.string().filter((name) => name !== "__proto__"),
        fc.jsonValue({ maxDepth: 4 }),
      ),
      (fields) => {
        const text = JSON.stringify(fields);
        fc.pre(!text.includes("__proto__"));
        expect(readFields(bytes(text), FORM)).toEqual(JSON.parse(text));
      },
    ),
  );
});

test("a query becomes fields, names that come twice lists", () => {
  expect(fieldsOf(new URLSearchParams("a=1&b=2&a=3"))).toEqual({ a: ["1", "3"], b: "2" });
});

test.each([
  { given: undefined, type: "" },
  { given: "Application/JSON; charset=utf-8", type: "application/json" },
  { given: " a/b ", type: "a/b" },
])("the type of $given is $type", ({ given, type }) => {
  expect(mediaType(given)).toBe(type);
});
