import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { certificatesToPem, derToPem } from "./pem.js";

test("writes what Node's decoder reads back, in lines of 64 characters", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (der) => {
      const lines = Buffer.from(derToPem("CERTIFICATE", der)).toString("latin1").trimEnd().split("\n");
      expect(lines[0]).toBe("-----BEGIN CERTIFICATE-----");
      expect(lines.at(-1)).toBe("-----END CERTIFICATE-----");
      const body = lines.slice(1, -1);
      expect(body.every((line, at) => line.length === 64 || at === body.length - 1)).toBe(true);
      expect(new Uint8Array(Buffer.from(body.join(""), "base64"))).toEqual(der);
      expect(body.join("")).toBe(Buffer.from(der).toString("base64"));
    }),
  );
});

test("writes a private key that OpenSSL reads", () => {
  const { privateKey } = generateKeyPairSync("ed25519");
  const der = privateKey.export({ format: "der", type: "pkcs8" });
  expect(createPrivateKey(Buffer.from(derToPem("PRIVATE KEY", der))).equals(privateKey)).toBe(true);
});

test("writes several certificates one after another", () => {
  const pem = Buffer.from(certificatesToPem([Uint8Array.of(1), Uint8Array.of(2)])).toString("latin1");
  expect(pem.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
});
