import { RksError } from "@rk8s/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { decodePem, decodePemCertificates, encodePem, encodePemBytes } from "./pem.js";

test("a block is written with lines of 64 characters", () => {
  const body = `${"/".repeat(64)}\n//8=`;
  expect(encodePem("CERTIFICATE", new Uint8Array(50).fill(0xff))).toBe(
    `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----\n`,
  );
  expect(encodePem("X", Uint8Array.of())).toBe("-----BEGIN X-----\n-----END X-----\n");
});

test("what was encoded is decoded, as text and as bytes, and node's base64 agrees", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (der) => {
      const bytes = encodePemBytes("PRIVATE KEY", der);
      expect(decodePem(bytes)).toEqual([{ label: "PRIVATE KEY", der }]);
      const text = new TextDecoder().decode(bytes);
      expect(decodePem(text)).toEqual([{ label: "PRIVATE KEY", der }]);
      expect(text.split("\n").slice(1, -2).join("")).toBe(Buffer.from(der).toString("base64"));
    }),
  );
});

test("text around and between blocks, CRLF and indentation are skipped", () => {
  const text =
    "subject=CN=x\r\n-----BEGIN A-----\r\n AQID\r\n-----END A-----\nbetween ----- dashes\n-----BEGIN B C-----\nBA==\n-----END B C-----";
  expect(decodePem(text)).toEqual([
    { label: "A", der: Uint8Array.of(1, 2, 3) },
    { label: "B C", der: Uint8Array.of(4) },
  ]);
});

test.each([
  { name: "no END line", text: "-----BEGIN A-----\nAQID\n" },
  { name: "another END line", text: "-----BEGIN A-----\nAQID\n-----END B-----\n" },
  { name: "an END line that is cut off", text: "-----BEGIN A-----\nAQID\n-----END A---" },
  { name: "a BEGIN line without dashes", text: "-----BEGIN A\nAQID\n" },
  { name: "characters beyond base64", text: "-----BEGIN A-----\nAQ!D\n-----END A-----" },
  { name: "a digit after the padding", text: "-----BEGIN A-----\nAQ==AQ==\n-----END A-----" },
  { name: "a lone digit", text: "-----BEGIN A-----\nAQIDA\n-----END A-----" },
  { name: "padding missing", text: "-----BEGIN A-----\nAQ\n-----END A-----" },
  { name: "bits left over", text: "-----BEGIN A-----\nAR==\n-----END A-----" },
  { name: "a header inside", text: "-----BEGIN A-----\nProc-Type: 4,ENCRYPTED\n\nAQID\n-----END A-----" },
])("a block with $name is refused", ({ text }) => {
  expect(() => decodePem(text, { code: "CSR_INVALID" })).toThrow(
    expect.objectContaining({ code: "CSR_INVALID" }) as Error,
  );
});

test("more than a megabyte and more than 256 blocks are refused", () => {
  const block = encodePem("A", Uint8Array.of(1));
  expect(() => decodePem(block.repeat(257))).toThrow(RksError);
  expect(() => decodePem(new Uint8Array(1_048_577))).toThrow(RksError);
  expect(decodePem(block.repeat(256))).toHaveLength(256);
});

test("certificates are picked out of a file with other blocks; a file without one is refused", () => {
  const key = encodePem("EC PRIVATE KEY", Uint8Array.of(1));
  const certificate = encodePem("CERTIFICATE", Uint8Array.of(2));
  expect(decodePemCertificates(key + certificate)).toEqual([Uint8Array.of(2)]);
  expect(() => decodePemCertificates(key)).toThrow(
    expect.objectContaining({ code: "CERTIFICATE_INVALID" }) as Error,
  );
});
