import { createPublicKey, verify, webcrypto } from "node:crypto";
import { inspect } from "node:util";
import { Crypto as PeculiarCrypto } from "@peculiar/webcrypto";
import type { RksError } from "@rk8s/protocol";
import { parseCertificateRequest } from "@rk8s/x509";
import { expect, test } from "vitest";
import { createCertificateRequest } from "./csr.js";
import { importKeyPair, KeyPair } from "./key-pair.js";

test.each(["P-256", "Ed25519"] as const)(
  "a %s request is signed by its own key and asks for little",
  (algorithm) => {
    using keyPair = KeyPair.create(algorithm);
    const request = parseCertificateRequest(createCertificateRequest(keyPair, { commonName: "worker-1" }));
    const key = createPublicKey({ key: Buffer.from(keyPair.spki), format: "der", type: "spki" });
    const hash = algorithm === "Ed25519" ? null : "sha256";
    expect(verify(hash, request.tbs, key, request.signature)).toBe(true);
    expect(Buffer.from(request.spki).equals(keyPair.spki)).toBe(true);
    expect(request.subject.rdns).toMatchObject([[{ value: "worker-1" }]]);
    expect(request.requestedExtensions).toEqual([]);
  },
);

test("a request without a name has an empty subject", () => {
  using keyPair = KeyPair.create();
  expect(parseCertificateRequest(createCertificateRequest(keyPair)).subject.rdns).toEqual([]);
});

test("disposal drops the key and forbids its use", () => {
  const keyPair = KeyPair.create();
  const copy = keyPair.exportPrivateKey();
  expect(copy.some((byte) => byte !== 0)).toBe(true);
  keyPair[Symbol.dispose]();
  keyPair[Symbol.dispose]();
  expect(() => keyPair.exportPrivateKey()).toThrow(TypeError);
  expect(() => keyPair.sign(copy)).toThrow(TypeError);
});

test("each export is memory of its own that can be wiped", () => {
  using keyPair = KeyPair.create();
  const first = keyPair.exportPrivateKey();
  first.fill(0);
  expect(first.buffer.byteLength).toBe(first.length);
  expect(keyPair.exportPrivateKey().some((byte) => byte !== 0)).toBe(true);
});

test("printing a key pair shows nothing of the private key", () => {
  using keyPair = KeyPair.create();
  const secret = Buffer.from(keyPair.exportPrivateKey()).subarray(36, 68);
  const shown =
    inspect(keyPair, { showHidden: true, depth: 9, maxArrayLength: null }) + JSON.stringify(keyPair);
  expect(shown).not.toContain(secret.toString("hex"));
  expect(shown).not.toContain(JSON.stringify([...secret]).slice(1, 40));
  expect(shown).not.toContain(secret.toString("base64").slice(0, 20));
});

test("a key pair of @peculiar/webcrypto and one of Node can be taken over", async () => {
  const algorithm = { name: "ECDSA", namedCurve: "P-256" };
  const peculiar = new PeculiarCrypto();
  const foreign = await peculiar.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  using fromPeculiar = await importKeyPair(foreign, { crypto: peculiar });
  const spki = await peculiar.subtle.exportKey("spki", foreign.publicKey);
  expect(Buffer.from(fromPeculiar.spki)).toEqual(Buffer.from(spki));

  const own = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  using fromNode = await importKeyPair(own, { crypto: webcrypto });
  expect(fromNode.algorithm).toBe("P-256");
});

test.each([
  { name: "nothing", bytes: () => new Uint8Array(), code: "INPUT_INVALID" },
  { name: "garbage", bytes: () => new Uint8Array(138).fill(7), code: "INPUT_INVALID" },
  {
    name: "half a key",
    bytes: () => KeyPair.create().exportPrivateKey().slice(0, 60),
    code: "INPUT_INVALID",
  },
])("a private key that is $name is refused without repeating it", ({ bytes, code }) => {
  let error: unknown;
  try {
    KeyPair.fromPkcs8(bytes());
  } catch (reason) {
    error = reason;
  }
  expect(error).toMatchObject({ code });
  expect((error as RksError).cause).toBeUndefined();
});

test("a P-384 key is refused", async () => {
  const keys = await webcrypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-384" }, true, ["sign"]);
  await expect(importKeyPair(keys, { crypto: webcrypto })).rejects.toMatchObject({ code: "KEY_TOO_WEAK" });
});
