import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeOcspError } from "@rk8s/x509";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { CrashingStorage } from "../../vault/testing/crashing-storage.js";
import { aPki, type TestPki } from "../testing/a-pki-backend.js";
import { hasOpenssl } from "../testing/openssl.js";

async function aPkiWithRoot(keyType = "ec", init: Parameters<typeof aPki>[0] = {}): Promise<TestPki> {
  const pki = await aPki(init);
  pki.clock.nowMs = Math.floor(Date.now() / 1000) * 1000;
  await pki.write("root/generate/internal", { common_name: "Root", key_type: keyType, ttl: "8760h" });
  await pki.write("roles/web", { key_type: "ec", allow_any_name: true, ttl: "24h" });
  return pki;
}

interface Files {
  readonly folder: string;
  readonly path: (name: string) => string;
}

/** A folder with `ca.pem` and `leaf.pem`. */
async function files(pki: TestPki): Promise<Files & { readonly serial: string }> {
  const folder = mkdtempSync(join(tmpdir(), "pki-ocsp-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const path = (name: string) => join(folder, name);
  const issued = await pki.write("issue/web", { common_name: "a.example.com" });
  writeFileSync(path("leaf.pem"), `${String(issued["certificate"])}\n`);
  writeFileSync(path("ca.pem"), `${String(issued["issuing_ca"])}\n`);
  return { folder, path, serial: String(issued["serial_number"]) };
}

function run(args: readonly string[], folder: string): string {
  return execFileSync("openssl", ["ocsp", ...args], { cwd: folder, encoding: "utf8", stdio: "pipe" });
}

function aRequest(folder: string, options: readonly string[] = []): Buffer {
  run(["-issuer", "ca.pem", ...options, "-cert", "leaf.pem", "-reqout", "request.der"], folder);
  return readFileSync(join(folder, "request.der"));
}

async function post(pki: TestPki, request: Uint8Array): Promise<Buffer> {
  const answer = await pki.ask("update", "ocsp", { request });
  expect(answer?.raw?.contentType).toBe("application/ocsp-response");
  const body = answer?.raw?.body;
  return Buffer.from(body instanceof Uint8Array ? body : "");
}

/** What openssl makes of an answer, its signature and nonce checked. */
function verified(folder: string, answer: Uint8Array, options: readonly string[] = []): string {
  writeFileSync(join(folder, "answer.der"), answer);
  return run(
    [
      "-issuer",
      "ca.pem",
      ...options,
      "-cert",
      "leaf.pem",
      "-no_nonce",
      "-reqin",
      "request.der",
      "-respin",
      "answer.der",
    ].concat(["-CAfile", "ca.pem"]),
    folder,
  );
}

const refusal = (status: Parameters<typeof encodeOcspError>[0]): Buffer =>
  Buffer.from(encodeOcspError(status));

test.skipIf(!hasOpenssl).each(["ec", "ed25519", "rsa"])(
  "openssl is told good, then revoked, by a root with a key of type %s",
  async (keyType) => {
    const pki = await aPkiWithRoot(keyType);
    const { folder, serial } = await files(pki);
    const request = aRequest(folder);
    expect(verified(folder, await post(pki, request))).toContain("leaf.pem: good");
    await pki.write("revoke", { serial_number: serial });
    const revoked = verified(folder, await post(pki, request));
    expect(revoked).toContain("leaf.pem: revoked");
    expect(revoked).toContain("Next Update");
  },
  30_000,
);

test.skipIf(!hasOpenssl).each(["-sha1", "-sha256", "-sha384", "-sha512"])(
  "questions may name issuers by %s",
  async (hash) => {
    const pki = await aPkiWithRoot();
    const { folder } = await files(pki);
    const request = aRequest(folder, [hash]);
    expect(verified(folder, await post(pki, request), [hash])).toContain("leaf.pem: good");
  },
);

test.skipIf(!hasOpenssl)(
  "a question by GET is answered as one by POST, in either alphabet of base64",
  async () => {
    const pki = await aPkiWithRoot();
    const { folder } = await files(pki);
    const request = aRequest(folder, ["-no_nonce"]);
    for (const text of [request.toString("base64"), request.toString("base64url")]) {
      const body = (await pki.ask("read", `ocsp/${text}`))?.raw?.body;
      expect(verified(folder, body instanceof Uint8Array ? body : Buffer.from(""))).toContain(
        "leaf.pem: good",
      );
    }
    const asText = await pki.ask("update", "ocsp", { request: request.toString("base64") });
    const body = asText?.raw?.body;
    expect(verified(folder, body instanceof Uint8Array ? body : Buffer.from(""))).toContain("leaf.pem: good");
  },
);

test.skipIf(!hasOpenssl)(
  "a question about another authority's certificate is answered with unknown",
  async () => {
    const [pki, other] = [await aPkiWithRoot(), await aPkiWithRoot("rsa")];
    const { folder } = await files(other);
    const request = aRequest(folder);
    const own = await files(pki);
    writeFileSync(join(folder, "own.pem"), readFileSync(own.path("ca.pem")));
    writeFileSync(join(folder, "answer.der"), await post(pki, request));
    const seen = run(["-respin", "answer.der", "-noverify", "-resp_text"], folder);
    expect(seen).toContain("Cert Status: unknown");
  },
  30_000,
);

test.skipIf(!hasOpenssl)("an intermediate answers for its own certificates", async () => {
  const pki = await aPkiWithRoot();
  const { csr } = await pki.write("intermediate/generate/internal", { common_name: "Sub", key_type: "ec" });
  const signed = await pki.write("root/sign-intermediate", { csr, common_name: "Sub", ttl: "4000h" });
  const { imported_issuers: [id = ""] = [] } = (await pki.write("intermediate/set-signed", {
    certificate: signed["certificate"],
  })) as { readonly imported_issuers?: readonly string[] };
  await pki.write("config/issuers", { default: id });
  const { folder, path, serial } = await files(pki);
  const root = String((await pki.read("cert/ca_chain"))["ca_chain"]);
  const request = aRequest(folder);
  await pki.write("revoke", { serial_number: serial });
  writeFileSync(path("answer.der"), await post(pki, request));
  writeFileSync(path("chain.pem"), `${root}\n`);
  const seen = run(
    ["-issuer", "ca.pem", "-cert", "leaf.pem", "-respin", "answer.der", "-CAfile", "chain.pem", "-no_nonce"],
    folder,
  );
  expect(seen).toContain("leaf.pem: revoked");
});

test.skipIf(!hasOpenssl)(
  "nobody is answered when OCSP is disabled or no issuer may sign for it",
  async () => {
    const pki = await aPkiWithRoot();
    const { folder } = await files(pki);
    const request = aRequest(folder);
    await pki.write("config/crl", { ocsp_disable: true });
    expect(await post(pki, request)).toEqual(refusal("unauthorized"));
    await pki.write("config/crl", { ocsp_disable: false });
    await pki.ask("patch", "issuer/default", { usage: "read-only,crl-signing" });
    expect(await post(pki, request)).toEqual(refusal("unauthorized"));
    await pki.ask("delete", "issuer/default");
    expect(await post(pki, request)).toEqual(refusal("unauthorized"));
  },
);

test.skipIf(!hasOpenssl)("an answer without an end is given when ocsp_expiry is 0", async () => {
  const pki = await aPkiWithRoot();
  const { folder } = await files(pki);
  await pki.write("config/crl", { ocsp_expiry: "0s" });
  expect(verified(folder, await post(pki, aRequest(folder)))).not.toContain("Next Update");
});

test.each([
  { name: "nothing", data: {} },
  { name: "no base64", data: { request: "?" } },
  { name: "text", data: { request: "aGVsbG8=" } },
  { name: "a number", data: { request: 1 } },
  { name: "too much", data: { request: new Uint8Array(40_000) } },
])("$name as a question is malformed, with status 200", async ({ data }) => {
  const pki = await aPkiWithRoot();
  const answer = await pki.ask("update", "ocsp", data);
  expect(answer?.status).toBeUndefined();
  expect(Buffer.from((answer?.raw?.body ?? "") as Uint8Array)).toEqual(refusal("malformedRequest"));
});

test("any bytes get an answer", async () => {
  const pki = await aPkiWithRoot();
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (request) => {
      expect((await post(pki, request)).length).toBeGreaterThan(0);
    }),
    { numRuns: 100 },
  );
});

test.skipIf(!hasOpenssl)("a damaged revocation record is an internal error, never good", async () => {
  const pki = await aPkiWithRoot("ec", { storage: new CrashingStorage() });
  const { folder, serial } = await files(pki);
  await pki.write("revoke", { serial_number: serial });
  const key = `logical/1/revoked/${serial.replaceAll(":", "")}`;
  await pki.storage.transaction([], [{ type: "put", key, value: Uint8Array.of(1) }]);
  expect(await post(pki, aRequest(folder))).toEqual(refusal("internalError"));
});
