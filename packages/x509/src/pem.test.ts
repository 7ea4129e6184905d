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

test("a bundle of openssl's with certificates, keys of every form, a request and a CRL is taken apart in order", () => {
  const labels = [
    "CERTIFICATE",
    "EC PARAMETERS",
    "EC PRIVATE KEY",
    "RSA PRIVATE KEY",
    "PRIVATE KEY",
    "CERTIFICATE REQUEST",
    "X509 CRL",
    "CERTIFICATE",
  ];
  const blocks = labels.map((label, i) => ({ label, der: new Uint8Array(100 + i).fill(i) }));
  const bundle = blocks
    .map(
      ({ label, der }, i) =>
        `Bag Attributes\n    localKeyID: 0${i}\nsubject=CN = x\n\n${encodePem(label, der)}`,
    )
    .join("");
  expect(decodePem(bundle)).toEqual(blocks);
  expect(decodePem(bundle.replaceAll("\n", "\r\n"))).toEqual(blocks);
  expect(decodePemCertificates(bundle)).toEqual([blocks[0]?.der, blocks[7]?.der]);
});

test("a bundle in which one block is broken is refused as a whole", () => {
  const bundle = encodePem("CERTIFICATE", Uint8Array.of(1)) + encodePem("PRIVATE KEY", Uint8Array.of(2));
  expect(() => decodePem(bundle.replace("Ag==", "Ag="))).toThrow(RksError);
  expect(() => decodePem(bundle.replace("END PRIVATE KEY", "END EC PRIVATE KEY"))).toThrow(RksError);
  expect(() => decodePem(bundle.slice(0, -2))).toThrow(RksError);
});

test("the limit of bytes can be raised and lowered", () => {
  const large = encodePem("X509 CRL", new Uint8Array(1_000_000));
  expect(() => decodePem(large)).toThrow(RksError);
  expect(decodePem(large, { maxBytes: 2_000_000 })[0]?.der.length).toBe(1_000_000);
  expect(() => decodePem(encodePem("A", Uint8Array.of(1)), { maxBytes: 10 })).toThrow(RksError);
});

test("certificates are picked out of a file with other blocks; a file without one is refused", () => {
  const key = encodePem("EC PRIVATE KEY", Uint8Array.of(1));
  const certificate = encodePem("CERTIFICATE", Uint8Array.of(2));
  expect(decodePemCertificates(key + certificate)).toEqual([Uint8Array.of(2)]);
  expect(() => decodePemCertificates(key)).toThrow(
    expect.objectContaining({ code: "CERTIFICATE_INVALID" }) as Error,
  );
});
