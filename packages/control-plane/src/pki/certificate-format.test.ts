import { encodePem } from "@rk8s/x509";
import fc from "fast-check";
import { expect, test } from "vitest";
import { certificatePem } from "./certificate-format.js";

test("a certificate in PEM is what x509 writes, without the newline at the end", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 400 }), (der) => {
      expect(certificatePem(der)).toBe(encodePem("CERTIFICATE", der).trimEnd());
    }),
  );
});

test("a certificate that is a part of a buffer is written alone", () => {
  const all = new Uint8Array(200).fill(7);
  const part = all.subarray(50, 146);
  expect(certificatePem(part)).toBe(certificatePem(Uint8Array.from(part)));
});
