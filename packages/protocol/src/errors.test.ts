import { describe, expect, test } from "vitest";
import { CLOSE_CODES, closeError } from "./close-codes.js";
import { decodeMessage, encodeMessage } from "./codec.js";
import { ERROR_CODES, isErrorCode, RksError, type ErrorCode } from "./errors.js";

const codes = Object.keys(ERROR_CODES) as ErrorCode[];

describe("the table of errors", () => {
  test.each(codes)(
    "%s has a name that fits the wire, a sane status and an exit code of sysexits(3)",
    (code) => {
      const { http, exit } = ERROR_CODES[code];
      expect(code).toMatch(/^[A-Z][A-Z0-9_]{2,62}[A-Z0-9]$/);
      expect(http).toBeGreaterThanOrEqual(400);
      expect(http).toBeLessThan(600);
      expect([64, 65, 69, 70, 75, 77, 78]).toContain(exit);
    },
  );

  test.each(codes.filter((code) => ERROR_CODES[code].exit === 75))(
    "%s ends a command with 75, so it may be tried again",
    (code) => {
      expect(ERROR_CODES[code].retryable).toBe(true);
    },
  );

  test.each(codes.filter((code) => [64, 77, 78].includes(ERROR_CODES[code].exit)))(
    "%s is refused for good, so it is not tried again",
    (code) => {
      expect(ERROR_CODES[code].retryable).toBe(false);
    },
  );

  test.each(["", "toString", "__proto__", "internal", "LATER"])("%j is no code", (text) => {
    expect(isErrorCode(text)).toBe(false);
  });
});

describe("an error", () => {
  test.each(codes)("%s crosses the wire with message and suggestion and without its cause", (code) => {
    const error = new RksError(code, 'node "a" failed', {
      suggestion: "Try again.",
      cause: new Error("secret"),
    });
    const bytes = encodeMessage({ type: "Error", ...error.toJSON() });
    expect(new TextDecoder().decode(bytes)).not.toContain("secret");
    const message = decodeMessage(bytes);
    if (message.type !== "Error") throw new Error("not an Error");
    const { code: got, message: text, suggestion, retryable } = RksError.fromWire(message);
    expect([got, text, suggestion, retryable]).toEqual([
      code,
      'node "a" failed',
      "Try again.",
      error.retryable,
    ]);
  });

  test("with a text too long, with half characters or control characters still crosses the wire", () => {
    const error = new RksError("INTERNAL", `\ud800\u001b[2J\n${"x".repeat(5000)}`, {
      suggestion: "😀".repeat(2000),
    });
    const message = decodeMessage(encodeMessage({ type: "Error", ...error.toJSON() }));
    expect(message).toMatchObject({ type: "Error", code: "INTERNAL" });
    expect(error.toJSON().message.slice(0, 8)).toBe("\ufffd\u001b[2J\nxx");
    expect(error.toJSON().message).toHaveLength(2048);
  });

  test.each([
    { retryable: true, code: "UNAVAILABLE" },
    { retryable: false, code: "INTERNAL" },
  ])("of a newer peer with retryable $retryable becomes $code", ({ retryable, code }) => {
    const error = RksError.fromWire({ code: "NEW_ONE", message: "something new", retryable });
    expect([error.code, error.retryable, error.message]).toEqual([
      code,
      retryable,
      'something new (unknown code "NEW_ONE")',
    ]);
  });

  test("from a peer cannot move a terminal's cursor", () => {
    const error = RksError.fromWire({
      code: "BUSY",
      message: "a\u001b[1A\rb\nrks: c",
      suggestion: "c\u0007",
      retryable: true,
    });
    expect([error.message, error.suggestion]).toEqual(["a\ufffd[1A\ufffdb rks: c", "c\ufffd"]);
  });

  test.each([new TypeError("x"), "text", undefined, null, { code: "BUSY" }])(
    "made from %o is INTERNAL and says nothing of it",
    (reason) => {
      const error = RksError.from(reason);
      expect([error.code, error.message, error.cause]).toEqual([
        "INTERNAL",
        "an internal error occurred",
        reason,
      ]);
    },
  );

  test("made from an RksError is that error", () => {
    const error = new RksError("BUSY", "busy");
    expect(RksError.from(error)).toBe(error);
  });
});

describe("a close code", () => {
  test("is a number of its own", () => {
    const numbers = Object.values(CLOSE_CODES);
    expect(new Set(numbers).size).toBe(numbers.length);
  });

  test.each([
    { close: CLOSE_CODES.NODE_BANNED, code: "NODE_BANNED" },
    { close: CLOSE_CODES.UNAVAILABLE, code: "UNAVAILABLE" },
    { close: CLOSE_CODES.DONE, code: "CONNECTION_LOST" },
    { close: 4711, code: "CONNECTION_LOST" },
    { close: undefined, code: "CONNECTION_LOST" },
  ])("$close means $code", ({ close, code }) => {
    expect(closeError(close, "why").code).toBe(code);
    expect(closeError(close, "").message).toBe("the connection was closed");
    expect(closeError(close, "a\u001bb").message).toBe("the connection was closed: a\ufffdb");
  });
});

test("a join token in a message or a suggestion is blotted out, also a part of one", () => {
  const token = `rkj1.${"aB3-_".repeat(20)}xy`;
  const error = new RksError("NOT_FOUND", `there is no node "${token.slice(0, 40)}"`, {
    suggestion: `Try ${token}.`,
  });
  expect(error.message).toBe('there is no node "rkj1.[redacted]"');
  expect(error.suggestion).toBe("Try rkj1.[redacted].");
});
