import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatJoinToken, parseJoinToken } from "./join-token.js";
import { RksError } from "./errors.js";
import { Secret } from "./secret.js";
import { arbitraryJoinToken } from "./testing/arbitraries.js";
import { aJoinToken, aJoinTokenText } from "./testing/builders.js";

/** The code and the text of the refusal; "parsed" when there is none. */
function refusal(text: string): { code: string; message: string } {
  try {
    parseJoinToken(text);
  } catch (error) {
    if (error instanceof RksError) return error;
    throw error;
  }
  return { code: "parsed", message: "" };
}

describe("a join token", () => {
  test("is 107 characters that begin with rkj1.", () => {
    expect(aJoinTokenText()).toBe(
      "rkj1.AQEBAQEBAQECAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDUVco6Q",
    );
  });

  test("is the same after formatting and parsing", () => {
    fc.assert(
      fc.property(arbitraryJoinToken, (token) => {
        const parsed = parseJoinToken(formatJoinToken(token));
        expect(parsed.id).toBe(token.id);
        expect(parsed.seed.reveal()).toEqual(token.seed.reveal());
        expect(parsed.rootSpkiSha256).toEqual(token.rootSpkiSha256);
      }),
    );
  });

  test("may have white space around it", () => {
    expect(parseJoinToken(`\r\n  ${aJoinTokenText()}\n`).id).toBe("0101010101010101");
  });

  test.each([
    { name: "a short id", token: aJoinToken({ id: "01" }) },
    { name: "an id in upper case", token: aJoinToken({ id: "ABABABABABABABAB" }) },
    { name: "a short seed", token: aJoinToken({ seed: new Secret(new Uint8Array(31)) }) },
    { name: "a long pin", token: aJoinToken({ rootSpkiSha256: new Uint8Array(33) }) },
  ])("with $name cannot be formatted", ({ token }) => {
    expect(() => formatJoinToken(token)).toThrow(TypeError);
  });
});

describe("a mistyped join token is JOIN_TOKEN_MALFORMED", () => {
  const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.= ä\u0000";
  const text = formatJoinToken(
    aJoinToken({
      id: "0123456789abcdef",
      seed: new Secret(Uint8Array.from({ length: 32 }, (_, i) => i * 7)),
    }),
  );

  test("with any one character changed", () => {
    for (let at = 0; at < text.length; at++) {
      for (const character of ALPHABET) {
        if (character === text[at]) continue;
        expect(refusal(text.slice(0, at) + character + text.slice(at + 1)).code).toBe("JOIN_TOKEN_MALFORMED");
      }
    }
  });

  test("with any two neighbours swapped", () => {
    for (let at = 0; at + 1 < text.length; at++) {
      if (text[at] === text[at + 1]) continue;
      const swapped = text.slice(0, at) + text[at + 1]! + text[at]! + text.slice(at + 2);
      expect(refusal(swapped).code).toBe("JOIN_TOKEN_MALFORMED");
    }
  });

  test("with any one character missing, doubled or broken by a line", () => {
    for (let at = 0; at < text.length; at++) {
      expect(refusal(text.slice(0, at) + text.slice(at + 1)).code).toBe("JOIN_TOKEN_MALFORMED");
      expect(refusal(text.slice(0, at) + text[at]! + text.slice(at)).code).toBe("JOIN_TOKEN_MALFORMED");
      const broken = at === 0 ? text.slice(1) : `${text.slice(0, at)}\n${text.slice(at)}`;
      expect(refusal(broken).code).toBe("JOIN_TOKEN_MALFORMED");
    }
  });

  test.each([
    { name: "nothing", text: "" },
    { name: "the prefix alone", text: "rkj1." },
    { name: "another version", text: text.replace("rkj1.", "rkj2.") },
    { name: "another case", text: text.toLowerCase() },
    { name: "two tokens", text: text + text },
    { name: "ten million characters", text: `rkj1.${"A".repeat(10_000_000)}` },
    { name: "a PEM file", text: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n" },
  ])("when it is $name", ({ text: wrong }) => {
    expect(refusal(wrong).code).toBe("JOIN_TOKEN_MALFORMED");
  });

  test("whatever else it is", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string().map((rest) => `rkj1.${rest}`),
        ),
        (wrong) => {
          expect(refusal(wrong).code).toBe("JOIN_TOKEN_MALFORMED");
        },
      ),
    );
  });

  test("and the error repeats nothing of it", () => {
    const wrong = `${text.slice(0, -1)}!`;
    const { message } = refusal(wrong);
    for (let at = 5; at + 6 < wrong.length; at++) expect(message).not.toContain(wrong.slice(at, at + 6));
  });
});
