import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { utf8 } from "./bytes.js";
import { decodeMessage, encodeMessage } from "./codec.js";
import { RksError } from "./errors.js";
import { MESSAGE_SCHEMAS, type MessageType, type RksMessage } from "./message.js";
import { arbitraryMessage, arbitraryMessageOf } from "./testing/arbitraries.js";
import { aHello, aNodeStatus } from "./testing/builders.js";

const types = Object.keys(MESSAGE_SCHEMAS) as MessageType[];

/** What decoding some JSON text fails with. */
function refusal(json: string | Uint8Array): RksError {
  const result = outcome(typeof json === "string" ? utf8(json) : json);
  if (result instanceof RksError) return result;
  throw new Error("it was decoded");
}

/** The message or the coded error; anything else that is thrown fails the test. */
function outcome(bytes: Uint8Array): RksMessage | RksError {
  try {
    return decodeMessage(bytes);
  } catch (error) {
    if (error instanceof RksError) return error;
    throw error;
  }
}

describe("every message", () => {
  test.each(types)("%s is the same after encoding and decoding", (type) => {
    fc.assert(
      fc.property(arbitraryMessageOf[type] as fc.Arbitrary<RksMessage>, (message) => {
        expect(decodeMessage(encodeMessage(message))).toStrictEqual(message);
      }),
      { numRuns: 50 },
    );
  });

  test("has an arbitrary and no field that is called like the discriminant", () => {
    expect(Object.keys(arbitraryMessageOf).toSorted()).toEqual(types.toSorted());
    const fields = Object.values(MESSAGE_SCHEMAS).flatMap((schema) =>
      "shape" in schema ? Object.keys(schema.shape) : [],
    );
    expect(fields).not.toContain("type");
  });

  test("stays the same when a newer peer adds fields that this version does not know", () => {
    fc.assert(
      fc.property(arbitraryMessage, fc.jsonValue(), (message, extra) => {
        fc.pre(message.type !== "Ack");
        const json = JSON.parse(new TextDecoder().decode(encodeMessage(message))) as Record<string, object>;
        const newer = { [message.type]: { ...json[message.type], "a field of the future": extra } };
        expect(decodeMessage(utf8(JSON.stringify(newer)))).toStrictEqual(message);
      }),
      { numRuns: 200 },
    );
  });
});

describe("bytes from anywhere", () => {
  test("either decode or fail with a coded error", () => {
    const json = fc.json().map((text) => utf8(text));
    const tagged = fc
      .record({ type: fc.constantFrom(...types), body: fc.jsonValue() })
      .map(({ type, body }) => utf8(JSON.stringify({ [type]: body })));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), json, tagged), (bytes) => {
        const result = outcome(bytes);
        const what = result instanceof RksError ? result.code : "decoded";
        expect(["decoded", "MESSAGE_INVALID", "MESSAGE_UNKNOWN"]).toContain(what);
      }),
      { numRuns: 1000 },
    );
  });

  test("that are a message with one byte changed either decode or fail with a coded error", () => {
    fc.assert(
      fc.property(arbitraryMessage, fc.nat(), fc.integer({ min: 0, max: 255 }), (message, at, byte) => {
        const bytes = encodeMessage(message);
        bytes[at % bytes.length] = byte;
        const result = outcome(bytes);
        const again = result instanceof RksError ? result : decodeMessage(encodeMessage(result));
        expect(again).toEqual(result);
      }),
      { numRuns: 300 },
    );
  });

  test.each([
    { name: "nothing", json: "" },
    { name: "white space", json: "  " },
    { name: "half a message", json: '{"Hello":{"versions":[1],' },
    { name: "a number", json: "1" },
    { name: "null", json: "null" },
    { name: "an array", json: '["Ack"]' },
    { name: "an object without a tag", json: "{}" },
    { name: "two tags", json: '{"GetNode":{"name":"a"},"ListNodes":{}}' },
    { name: "a message without its body", json: '"Hello"' },
    { name: "a body where none belongs", json: '{"Ack":{}}' },
    { name: "a byte order mark", json: '\ufeff"Ack"' },
    { name: "NaN", json: '{"Registered":{"heartbeatIntervalSeconds":NaN}}' },
    { name: "a number beyond all numbers", json: '{"Hello":{"versions":[1e999],"features":[],"nonce":""}}' },
    { name: "half a character", json: '{"NodeStopping":{"reason":"\\ud800"}}' },
    { name: "the wrong halves of two characters", json: '{"NodeStopping":{"reason":"\\udc00\\ud800"}}' },
    { name: "half a character in a key nobody knows", json: '{"NodeStopping":{"reason":"","\\uDFFF":1}}' },
    { name: "a half after an escaped backslash", json: '{"NodeStopping":{"reason":"\\\\\\ud800"}}' },
  ])("$name is MESSAGE_INVALID", ({ json }) => {
    expect(refusal(json).code).toBe("MESSAGE_INVALID");
  });

  test("that are not UTF-8 are MESSAGE_INVALID", () => {
    expect(refusal(Uint8Array.of(0x22, 0xc3, 0x22)).code).toBe("MESSAGE_INVALID");
    expect(refusal(Uint8Array.of(0x22, 0xed, 0xa0, 0x80, 0x22)).code).toBe("MESSAGE_INVALID");
  });

  test.each(["__proto__", "constructor", "toString", "hello", "", "hasOwnProperty"])(
    "tag %j is MESSAGE_UNKNOWN, as a string and as a key",
    (tag) => {
      expect(refusal(JSON.stringify(tag)).code).toBe("MESSAGE_UNKNOWN");
      expect(refusal(`{${JSON.stringify(tag)}:{}}`).code).toBe("MESSAGE_UNKNOWN");
    },
  );

  test("whole characters may be escaped, and text that only looks escaped is left alone", () => {
    const reasons = ["\\ud83d\\ude00", "\\\\ud800", "\\\\\\\\ud800 \\u00e4", "\\uD83D\\uDE00\\n"];
    for (const reason of reasons) {
      const json = `{"NodeStopping":{"reason":"${reason}"}}`;
      expect(decodeMessage(utf8(json))).toEqual({
        type: "NodeStopping",
        reason: JSON.parse(`"${reason}"`) as string,
      });
    }
  });

  test("__proto__ in a map or a body changes nobody's prototype", () => {
    const json = `{"Heartbeat":{"__proto__":{"polluted":true},"status":{"capacity":{"__proto__":"1","cpu":"1"},"allocatable":{},"addresses":[],"conditions":[]}}}`;
    const message = decodeMessage(utf8(json));
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
    expect((message as unknown as Record<string, unknown>)["polluted"]).toBeUndefined();
    if (message.type !== "Heartbeat") throw new Error("not a Heartbeat");
    expect(Object.getPrototypeOf(message.status.capacity)).toBe(Object.prototype);
    expect(message.status.capacity).toEqual({ cpu: "1" });
  });

  test.each([
    { name: "JSON nested half a million deep", json: `{"ListNodes":{"x":${"[".repeat(500_000)}` },
    { name: "a closed nest", json: `{"ListNodes":{"x":${"[".repeat(300_000)}${"]".repeat(300_000)}}}` },
    { name: "a number of a million digits", json: `{"Hello":{"versions":[${"9".repeat(1_000_000)}]}}` },
    { name: "half a million wrong items", json: `{"Hello":{"versions":[${'"",'.repeat(300_000)}""]}}` },
    { name: "wrong pods", json: `{"PodList":{"pods":[${"{},".repeat(300_000)}{}]}}` },
    {
      name: "a map of a hundred thousand wrong entries",
      json: `{"Heartbeat":{"status":{"capacity":{${Array.from({ length: 90_000 }, (_, i) => `"${i}":1`).join()}}}}}`,
    },
    { name: "a name of a million characters", json: `{"GetNode":{"name":"${"a".repeat(1_000_000)}!"}}` },
    {
      name: "a time of a million digits",
      json: `{"Welcome":{"serverTime":"2026-01-01T00:00:00.${"0".repeat(1e6)}Z"}}`,
    },
  ])("$name is read or refused within the time of an ordinary request", ({ json }) => {
    const bytes = utf8(json);
    const start = performance.now();
    const result = outcome(bytes);
    expect(performance.now() - start).toBeLessThan(2000);
    expect(result instanceof RksError ? result.message.length : 0).toBeLessThan(600);
  });
});

describe("the path in an error", () => {
  const status = aNodeStatus();
  test.each([
    {
      name: "leads through lists",
      json: { Heartbeat: { status: { ...status, conditions: [{ status: "True" }] } } },
      path: "Heartbeat.status.conditions[0].type: ",
    },
    {
      name: "quotes a map's key",
      json: { Heartbeat: { status: { ...status, capacity: { "a b": 1 } } } },
      path: 'Heartbeat.status.capacity["a b"]: ',
    },
    { name: "is the message itself when the body is wrong", json: { GetNode: 1 }, path: "GetNode: " },
    {
      name: "names a list that is too long",
      json: { Hello: { versions: Array.from({ length: 17 }, () => 1), features: [], nonce: "" } },
      path: "Hello.versions: ",
    },
  ])("$name", ({ json, path }) => {
    const { code, message } = refusal(JSON.stringify(json));
    expect(code).toBe("MESSAGE_INVALID");
    expect(message.slice(0, path.length)).toBe(path);
  });

  test("keeps the spelling of the values that are allowed", () => {
    const json = JSON.stringify({
      Heartbeat: { status: { ...status, conditions: [{ type: "Ready", status: "yes" }] } },
    });
    expect(refusal(json).message).toContain('"True"|"False"|"Unknown"');
  });

  test("repeats no value: a proof or a key may be one", () => {
    const json = JSON.stringify({ GetNode: { name: "SECRET VALUE" } });
    expect(refusal(json).message).not.toContain("SECRET");
  });
});

describe("encoding", () => {
  test.each([
    { name: "a nonce of the wrong size", message: aHello({ nonce: new Uint8Array(31) }) },
    { name: "no version", message: aHello({ versions: [] }) },
    { name: "NaN", message: aHello({ versions: [Number.NaN] }) },
    { name: "infinity", message: aHello({ versions: [Number.POSITIVE_INFINITY] }) },
    { name: "half a character", message: { type: "NodeStopping", reason: "\ud800" } as RksMessage },
    { name: "too many entries", message: { type: "NodeStopping", reason: "x".repeat(257) } as RksMessage },
  ])("refuses $name", ({ message }) => {
    expect(() => encodeMessage(message)).toThrow(expect.objectContaining({ code: "MESSAGE_INVALID" }));
  });

  test("sends no field that the message does not have", () => {
    const message = { type: "GetNode", name: "a", privateKey: "SECRET", nested: { too: true } } as RksMessage;
    expect(new TextDecoder().decode(encodeMessage(message))).toBe('{"GetNode":{"name":"a"}}');
  });

  test("leaves out what is undefined", () => {
    const message = { type: "ListPods", namespace: undefined } as unknown as RksMessage;
    expect(new TextDecoder().decode(encodeMessage(message))).toBe('{"ListPods":{}}');
  });

  test("writes a message without a body as its name", () => {
    expect(new TextDecoder().decode(encodeMessage({ type: "Ack" }))).toBe('"Ack"');
  });
});
