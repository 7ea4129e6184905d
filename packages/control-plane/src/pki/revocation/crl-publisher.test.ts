import { parseCrl, revokedCertificates } from "@rk8s/x509";
import { expect, test } from "vitest";
import { CrashingStorage } from "../../vault/testing/crashing-storage.js";
import { aPki, type TestPki } from "../testing/a-pki-backend.js";
import { hasOpenssl, openssl } from "../testing/openssl.js";

const HOUR_MS = 3_600_000;

async function aPkiWithRoot(init: Parameters<typeof aPki>[0] = {}): Promise<TestPki> {
  const pki = await aPki(init);
  await pki.write("root/generate/internal", { common_name: "Test Root", key_type: "ec", ttl: "87600h" });
  await pki.write("roles/web", { key_type: "ec", allow_any_name: true, ttl: "720h" });
  return pki;
}

async function revokeOne(pki: TestPki): Promise<void> {
  const { serial_number } = await pki.write("issue/web", { common_name: "a.example.com" });
  await pki.write("revoke", { serial_number });
}

interface Seen {
  readonly number: number;
  readonly base: number | undefined;
  readonly count: number;
  readonly fromMs: number;
  readonly toMs: number | undefined;
}

async function readCrl(pki: TestPki, path = "crl"): Promise<Seen | undefined> {
  const body = (await pki.ask("read", path))?.raw?.body;
  if (!(body instanceof Uint8Array)) return undefined;
  const crl = parseCrl(body);
  return {
    number: Number(crl.crlNumber),
    base: crl.baseCrlNumber === undefined ? undefined : Number(crl.baseCrlNumber),
    count: [...revokedCertificates(crl)].length,
    fromMs: crl.thisUpdate,
    toMs: crl.nextUpdate,
  };
}

test("a list that nothing was added to is not signed again", async () => {
  const pki = await aPkiWithRoot();
  const first = await readCrl(pki);
  pki.clock.nowMs += HOUR_MS;
  expect(await readCrl(pki)).toEqual(first);
  expect(first).toEqual({
    number: 1,
    base: undefined,
    count: 0,
    fromMs: pki.clock.nowMs - HOUR_MS,
    toMs: pki.clock.nowMs + 71 * HOUR_MS,
  });
});

test("a list is made again before it ends, in time for those who keep it a while", async () => {
  const pki = await aPkiWithRoot();
  await readCrl(pki);
  pki.clock.nowMs += 60 * HOUR_MS - 1;
  expect((await readCrl(pki))?.number).toBe(1);
  pki.clock.nowMs += 1;
  expect(await readCrl(pki)).toMatchObject({ number: 2, toMs: pki.clock.nowMs + 72 * HOUR_MS });
});

test("a list from a time that was taken back is made again", async () => {
  const pki = await aPkiWithRoot();
  pki.clock.nowMs += 1000 * HOUR_MS;
  await readCrl(pki);
  pki.clock.nowMs -= 1000 * HOUR_MS;
  expect(await readCrl(pki)).toMatchObject({ number: 2, fromMs: pki.clock.nowMs });
  pki.clock.nowMs -= 60_000;
  expect(await readCrl(pki)).toMatchObject({ number: 2 });
});

test("numbers grow over restarts and with the clock put back", async () => {
  const pki = await aPkiWithRoot();
  await revokeOne(pki);
  expect(await readCrl(pki)).toMatchObject({ number: 1, count: 1 });
  const again = await aPki({ storage: pki.storage });
  again.clock.nowMs -= 24 * HOUR_MS;
  expect(await readCrl(again)).toMatchObject({ number: 2, count: 1 });
});

test("readers at once share one signing", async () => {
  const pki = await aPkiWithRoot();
  await revokeOne(pki);
  const seen = await Promise.all(Array.from({ length: 20 }, () => readCrl(pki)));
  expect(new Set(seen.map((crl) => crl?.number))).toEqual(new Set([1]));
});

test("readers between revocations always see those acknowledged before", async () => {
  const pki = await aPkiWithRoot();
  await Promise.all(
    Array.from({ length: 10 }, async (_, index) => {
      for (let i = 0; i < 5; i += 1) {
        await revokeOne(pki);
        expect((await readCrl(pki))?.count, `after revocation ${i} of ${index}`).toBeGreaterThan(i);
      }
    }),
  );
  expect((await readCrl(pki))?.count).toBe(50);
});

test("conditional requests never miss a list: one of the same second or an earlier one has no date", async () => {
  const pki = await aPkiWithRoot();
  const lastModified = async () => (await pki.ask("read", "crl"))?.raw?.lastModifiedMs;
  expect(await lastModified()).toBe(pki.clock.nowMs);
  await revokeOne(pki);
  expect(await lastModified()).toBeUndefined();
  pki.clock.nowMs += 1000;
  await revokeOne(pki);
  expect(await lastModified()).toBe(pki.clock.nowMs);
  const again = await aPki({ storage: pki.storage });
  again.clock.nowMs = pki.clock.nowMs - HOUR_MS;
  expect((await again.ask("read", "crl"))?.raw?.lastModifiedMs).toBeUndefined();
});

test.each(["resign-crls", "sign-revocation-list"])("%s says that it is not served", async (path) => {
  const pki = await aPkiWithRoot();
  await expect(pki.write(`issuer/default/${path}`, { crls: [] })).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
});

test("rotating signs again though nothing changed", async () => {
  const pki = await aPkiWithRoot();
  await readCrl(pki);
  expect(await pki.read("crl/rotate")).toEqual({ success: true });
  expect((await readCrl(pki))?.number).toBe(2);
  expect(await pki.read("crl/rotate-delta")).toEqual({ success: true });
  expect((await readCrl(pki))?.number).toBe(2);
});

test("with auto_rebuild a list stays as it is until its time comes, and revoking says when that is", async () => {
  const pki = await aPkiWithRoot();
  await pki.write("config/crl", { auto_rebuild: true, auto_rebuild_grace_period: "8h" });
  await readCrl(pki);
  const { serial_number } = await pki.write("issue/web", { common_name: "a.example.com" });
  const answer = await pki.ask("update", "revoke", { serial_number });
  const due = new Date(pki.clock.nowMs + 64 * HOUR_MS).toISOString();
  expect(answer?.warnings).toEqual([expect.stringContaining(due)]);
  expect((await readCrl(pki))?.count).toBe(0);
  pki.clock.nowMs += 64 * HOUR_MS;
  expect(await readCrl(pki)).toMatchObject({ count: 1, number: 2 });
});

test("rotating makes an automatic list at once", async () => {
  const pki = await aPkiWithRoot();
  await pki.write("config/crl", { auto_rebuild: true });
  await readCrl(pki);
  await revokeOne(pki);
  await pki.read("crl/rotate");
  expect((await readCrl(pki))?.count).toBe(1);
});

test("delta lists have what came since the complete one", async () => {
  const pki = await aPkiWithRoot();
  expect(await readCrl(pki, "crl/delta")).toBeUndefined();
  await pki.write("config/crl", { auto_rebuild: true, enable_delta: true });
  await revokeOne(pki);
  const complete = await readCrl(pki);
  expect(complete).toMatchObject({ count: 1, base: undefined });
  expect(await readCrl(pki, "crl/delta")).toMatchObject({ count: 0, base: complete?.number });
  await revokeOne(pki);
  await revokeOne(pki);
  expect(await readCrl(pki, "crl/delta")).toMatchObject({ count: 0 });
  pki.clock.nowMs += HOUR_MS / 4;
  const delta = await readCrl(pki, "crl/delta");
  expect(delta).toMatchObject({ count: 2, base: complete?.number });
  expect(delta?.number).toBeGreaterThan(complete?.number ?? Infinity);
  await revokeOne(pki);
  await pki.read("crl/rotate-delta");
  expect(await readCrl(pki, "issuer/default/crl/delta/der")).toMatchObject({ count: 3 });
  expect(await readCrl(pki)).toMatchObject({ count: 1 });
  expect(await pki.read("cert/delta-crl")).toMatchObject({
    certificate: expect.stringContaining("BEGIN X509 CRL"),
  });
});

test("a disabled list is signed and empty, and full again when it is enabled", async () => {
  const pki = await aPkiWithRoot();
  await revokeOne(pki);
  await pki.write("config/crl", { disable: true });
  expect((await readCrl(pki))?.count).toBe(0);
  await pki.write("config/crl", { disable: "false" });
  expect((await readCrl(pki))?.count).toBe(1);
});

test("issuers with one name and one key share one list, others have their own", async () => {
  const pki = await aPkiWithRoot();
  const { key_id } = (await pki.read("issuer/default")) as { readonly key_id?: string };
  await revokeOne(pki);
  const same = await pki.write("root/rotate/existing", {
    common_name: "Test Root",
    key_ref: key_id,
    ttl: "43800h",
  });
  const other = await pki.write("root/rotate/internal", { common_name: "Other", key_type: "ec" });
  expect(await readCrl(pki, `issuer/${String(same["issuer_id"])}/crl/der`)).toMatchObject({
    count: 1,
    number: 1,
  });
  expect(await readCrl(pki)).toMatchObject({ count: 1, number: 1 });
  expect(await readCrl(pki, `issuer/${String(other["issuer_id"])}/crl/der`)).toMatchObject({
    count: 0,
    number: 1,
  });
});

test("an issuer that is deleted and imported again has its revocations", async () => {
  const pki = await aPkiWithRoot();
  await revokeOne(pki);
  const { certificate } = await pki.read("cert/ca");
  await pki.ask("delete", "issuer/default");
  expect(await pki.ask("read", "crl")).toMatchObject({ raw: { body: "" } });
  expect(await pki.ask("read", "cert/crl")).toBeUndefined();
  expect(await pki.ask("read", "issuer/default/crl")).toBeUndefined();
  const { imported_issuers: [id] = [] } = (await pki.write("issuers/import/cert", {
    pem_bundle: certificate,
  })) as { readonly imported_issuers?: readonly string[] };
  expect(await readCrl(pki, `issuer/${id ?? ""}/crl/der`)).toMatchObject({ count: 1 });
});

test("an issuer without the usage crl-signing has no list, and revoking says so", async () => {
  const pki = await aPkiWithRoot();
  await pki.ask("patch", "issuer/default", { usage: "read-only,issuing-certificates" });
  expect(await readCrl(pki)).toBeUndefined();
  const { serial_number } = await pki.write("issue/web", { common_name: "a.example.com" });
  const answer = await pki.ask("update", "revoke", { serial_number });
  expect(answer?.warnings?.[0]).toContain("may not sign CRLs");
  await pki.ask("patch", "issuer/default", { usage: "read-only,issuing-certificates,crl-signing" });
  expect((await readCrl(pki))?.count).toBe(1);
});

test("a list that still holds is served while nothing can be written", async () => {
  const storage = new CrashingStorage();
  const pki = await aPkiWithRoot({ storage });
  await readCrl(pki);
  storage.plan({ at: 1, written: false });
  pki.clock.nowMs += 61 * HOUR_MS;
  expect((await readCrl(pki))?.number).toBe(1);
  pki.clock.nowMs += 12 * HOUR_MS;
  await expect(readCrl(pki)).rejects.toMatchObject({ code: "STORAGE_UNWRITABLE" });
});

test.each([
  { name: "no duration", data: { expiry: "soon" }, says: "expiry" },
  { name: "no time at all", data: { expiry: "0s" }, says: "expiry" },
  { name: "grace as long as the expiry", data: { auto_rebuild: true, expiry: "12h" }, says: "grace" },
  { name: "a delta without auto_rebuild", data: { enable_delta: true }, says: "auto_rebuild" },
  {
    name: "a delta interval as long as the expiry",
    data: { auto_rebuild: true, enable_delta: true, delta_rebuild_interval: "72h" },
    says: "delta_rebuild_interval",
  },
])("config/crl refuses $name and stays as it was", async ({ data, says }) => {
  const pki = await aPkiWithRoot();
  await expect(pki.write("config/crl", data)).rejects.toMatchObject({
    code: "INPUT_INVALID",
    message: expect.stringContaining(says),
  });
  expect(await pki.read("config/crl")).toEqual({
    expiry: "72h",
    disable: false,
    ocsp_disable: false,
    ocsp_expiry: "12h",
    auto_rebuild: false,
    auto_rebuild_grace_period: "12h",
    enable_delta: false,
    delta_rebuild_interval: "15m",
    allow_expired_cert_revocation: false,
  });
});

test("config/crl keeps durations in the words they came in, over restarts", async () => {
  const pki = await aPkiWithRoot();
  await pki.write("config/crl", { expiry: "1h30m", ocsp_expiry: 60 });
  const again = await aPki({ storage: pki.storage });
  expect(await again.read("config/crl")).toMatchObject({ expiry: "1h30m", ocsp_expiry: "60s" });
});

test.skipIf(!hasOpenssl)(
  "openssl reads complete and delta lists of every type of key",
  async () => {
    for (const keyType of ["ec", "ed25519", "rsa"]) {
      const pki = await aPki();
      await pki.write("root/generate/internal", { common_name: "Root", key_type: keyType, ttl: "8760h" });
      await pki.write("roles/web", { key_type: "ec", allow_any_name: true });
      if (keyType === "rsa") {
        await pki.ask("patch", "issuer/default", { revocation_signature_algorithm: "SHA384WithRSAPSS" });
      }
      await pki.write("config/crl", { auto_rebuild: true, enable_delta: true });
      await readCrl(pki);
      await revokeOne(pki);
      const ca = String((await pki.read("cert/ca"))["certificate"]);
      for (const path of ["crl/pem", "crl/delta/pem"]) {
        const pem = String((await pki.ask("read", path))?.raw?.body);
        expect(pem.endsWith("-----END X509 CRL-----")).toBe(true);
        const seen = openssl(["crl", "-in", "crl.pem", "-noout", "-text"], { "crl.pem": pem });
        expect(seen).toContain("X509v3 CRL Number");
        expect(seen.includes("X509v3 Delta CRL Indicator: critical")).toBe(path === "crl/delta/pem");
        expect(seen.includes("rsassaPss")).toBe(keyType === "rsa");
      }
      const leaf = String((await pki.write("issue/web", { common_name: "b.example.com" }))["certificate"]);
      const crl = String((await pki.ask("read", "crl/pem"))?.raw?.body);
      const time = ["-attime", String(pki.clock.nowMs / 1000)];
      const files = { "leaf.pem": leaf, "ca.pem": ca, "crl.pem": crl };
      const verify = [
        "verify",
        "-crl_check",
        ...time,
        "-CAfile",
        "ca.pem",
        "-CRLfile",
        "crl.pem",
        "leaf.pem",
      ];
      expect(openssl(verify, files)).toContain("OK");
    }
  },
  30_000,
);
