import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { utf8 } from "@rk8s/protocol";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { parseSshPublicKey } from "./ssh-public-key.js";
import { isSshSignature } from "./ssh-signature.js";

const NAMESPACE = "rk8s-recover";
const folder = mkdtempSync(join(tmpdir(), "rk8s-ssh-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** OpenSSH itself; a machine without it fails these tests. */
function sshKeygen(args: readonly string[], input = ""): string {
  const { status, stdout, stderr, error } = spawnSync("ssh-keygen", args, { input, encoding: "utf8" });
  if (error !== undefined || status !== 0)
    throw new Error(`ssh-keygen ${args.join(" ")}: ${stderr}`, { cause: error });
  return stdout;
}

interface TestHostKey {
  readonly file: string;
  readonly publicKey: Uint8Array;
}

function aHostKey(name: string, type: readonly string[]): TestHostKey {
  const file = join(folder, name);
  sshKeygen(["-q", "-N", "", "-f", file, "-t", ...type]);
  const [, blob = ""] = readFileSync(`${file}.pub`, "utf8").split(" ");
  return { file, publicKey: Buffer.from(blob, "base64") };
}

function sign(key: TestHostKey, message: string, options: readonly string[] = []): Uint8Array {
  const armored = sshKeygen(["-Y", "sign", "-f", key.file, "-n", NAMESPACE, ...options], message);
  return Buffer.from(armored.replaceAll(/-----[^-]+-----/g, ""), "base64");
}

const KEYS = [
  { name: "Ed25519", key: aHostKey("ed25519", ["ed25519"]) },
  { name: "ECDSA on P-256", key: aHostKey("ecdsa", ["ecdsa", "-b", "256"]) },
  { name: "RSA", key: aHostKey("rsa", ["rsa", "-b", "2048"]) },
];
const MESSAGE = "what a host signs";

function isSigned(
  signature: Uint8Array,
  publicKey: Uint8Array,
  message = MESSAGE,
  namespace = NAMESPACE,
): boolean {
  return isSshSignature(signature, utf8(message), { publicKey, namespace });
}

describe.each(KEYS)("with a host key of kind $name", ({ key }) => {
  const signature = sign(key, MESSAGE);

  test("what ssh-keygen signed is taken, and nothing else", () => {
    expect(isSigned(signature, key.publicKey)).toBe(true);
    expect(isSigned(signature, key.publicKey, "what a host did not sign")).toBe(false);
    expect(isSigned(signature, key.publicKey, MESSAGE, "git")).toBe(false);
    for (const other of KEYS) {
      expect(isSigned(signature, other.key.publicKey)).toBe(other.key === key);
    }
  });

  test("both hashes of the format are taken", () => {
    for (const hash of ["sha256", "sha512"]) {
      expect(isSigned(sign(key, MESSAGE, ["-O", `hashalg=${hash}`]), key.publicKey)).toBe(true);
    }
  });

  test("a signature with any one byte changed, cut off or added is none", () => {
    for (let at = 0; at < signature.length; at++) {
      const changed = Uint8Array.from(signature);
      changed[at]! ^= 1;
      expect(isSigned(changed, key.publicKey)).toBe(false);
    }
    for (let length = 0; length < signature.length; length += 7) {
      expect(isSigned(signature.subarray(0, length), key.publicKey)).toBe(false);
    }
    expect(isSigned(Buffer.concat([signature, Buffer.from([0])]), key.publicKey)).toBe(false);
  });

  test("its public key is read", () => {
    expect(parseSshPublicKey(key.publicKey).key.type).toBe("public");
    expect(() => parseSshPublicKey(Buffer.concat([key.publicKey, Buffer.from([0])]))).toThrow("follows");
    expect(() => parseSshPublicKey(key.publicKey.subarray(0, -1))).toThrow("too early");
  });
});

test("a signature for another namespace by the same key is none", () => {
  const { key } = KEYS[0]!;
  const armored = sshKeygen(["-Y", "sign", "-f", key.file, "-n", "git"], MESSAGE);
  const signature = Buffer.from(armored.replaceAll(/-----[^-]+-----/g, ""), "base64");
  expect(isSigned(signature, key.publicKey)).toBe(false);
  expect(isSigned(signature, key.publicKey, MESSAGE, "git")).toBe(true);
});

test.each([
  { name: "DSA-sized RSA", type: ["rsa", "-b", "1024"] },
  { name: "ECDSA on P-384", type: ["ecdsa", "-b", "384"] },
])("a key of kind $name is refused", ({ name, type }) => {
  const file = join(folder, name.replaceAll(" ", "-"));
  sshKeygen(["-q", "-N", "", "-f", file, "-t", ...type]);
  const [, blob = ""] = readFileSync(`${file}.pub`, "utf8").split(" ");
  expect(() => parseSshPublicKey(Buffer.from(blob, "base64"))).toThrow(
    expect.objectContaining({ code: "INPUT_INVALID" }),
  );
});

test("a certificate of a host key is no host key", () => {
  const [ca, host] = [KEYS[0]!.key, aHostKey("certified", ["ed25519"])];
  sshKeygen(["-q", "-s", ca.file, "-I", "host", "-h", `${host.file}.pub`]);
  const [, blob = ""] = readFileSync(`${host.file}-cert.pub`, "utf8").split(" ");
  expect(() => parseSshPublicKey(Buffer.from(blob, "base64"))).toThrow("are not taken");
});

test("whatever bytes are given as key or signature, nothing but an answer or INPUT_INVALID comes", () => {
  const { key } = KEYS[0]!;
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      expect(isSigned(bytes, key.publicKey)).toBe(false);
      expect(isSigned(sign0, bytes)).toBe(false);
      expect(() => parseSshPublicKey(bytes)).toThrow(expect.objectContaining({ code: "INPUT_INVALID" }));
    }),
  );
});

const sign0 = sign(KEYS[0]!.key, MESSAGE);
