import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { parseCrl, revokedCertificates } from "@rk8s/x509";
import { expect, test } from "vitest";
import { CrashingStorage, everyCrash } from "../../vault/testing/crashing-storage.js";
import { aPki, type TestPki } from "../testing/a-pki-backend.js";
import { hasOpenssl, openssl } from "../testing/openssl.js";

const HOUR_MS = 3_600_000;

async function aPkiWithRoot(init: Parameters<typeof aPki>[0] = {}): Promise<TestPki> {
  const pki = await aPki(init);
  await pki.write("root/generate/internal", { common_name: "Test Root", key_type: "ec", ttl: "87600h" });
  await pki.write("roles/web", { key_type: "ec", allow_any_name: true, ttl: "24h", max_ttl: "720h" });
  return pki;
}

async function issue(pki: TestPki, data: object = {}): Promise<Readonly<Record<string, string>>> {
  const issued = await pki.write("issue/web", { common_name: "a.example.com", ...data });
  return issued as Readonly<Record<string, string>>;
}

/** Serial numbers, as Vault writes them, in the default issuer's list. */
async function serialsInCrl(pki: TestPki, path = "crl"): Promise<readonly string[]> {
  const answer = await pki.ask("read", path);
  const body = answer?.raw?.body;
  if (!(body instanceof Uint8Array)) return [];
  return [...revokedCertificates(parseCrl(body))].map(
    ({ serialNumber }) => serialNumber.match(/../g)?.join(":") ?? "",
  );
}

test("a revoked certificate is in the next list that is read, and says so itself", async () => {
  const pki = await aPkiWithRoot();
  const { serial_number: serial = "" } = await issue(pki);
  expect(await serialsInCrl(pki)).toEqual([]);
  const answer = await pki.ask("update", "revoke", { serial_number: serial });
  expect(answer).toEqual({
    data: {
      revocation_time: pki.clock.nowMs / 1000,
      revocation_time_rfc3339: new Date(pki.clock.nowMs).toISOString(),
      state: "revoked",
    },
    warnings: [],
  });
  expect(await serialsInCrl(pki)).toEqual([serial]);
  expect(await pki.read(`cert/${serial}`)).toMatchObject({
    revocation_time: pki.clock.nowMs / 1000,
    revocation_time_rfc3339: new Date(pki.clock.nowMs).toISOString(),
  });
  const { keys } = (await pki.ask("list", "certs/revoked"))?.data ?? {};
  expect(keys).toEqual([serial]);
});

test("revoking again answers with the first time", async () => {
  const pki = await aPkiWithRoot();
  const { serial_number: serial = "" } = await issue(pki);
  const first = await pki.write("revoke", { serial_number: serial });
  pki.clock.nowMs += HOUR_MS;
  expect(await pki.write("revoke", { serial_number: serial.replaceAll(":", "-").toUpperCase() })).toEqual(
    first,
  );
  pki.clock.nowMs -= 3 * HOUR_MS;
  expect(await pki.write("revoke", { serial_number: serial.replaceAll(":", "") })).toEqual(first);
  expect(await serialsInCrl(pki)).toEqual([serial]);
});

test("32 revocations of one certificate at once make one entry", async () => {
  const pki = await aPkiWithRoot();
  const { serial_number: serial = "" } = await issue(pki);
  const answers = await Promise.all(
    Array.from({ length: 32 }, () => pki.write("revoke", { serial_number: serial })),
  );
  expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
  expect(await serialsInCrl(pki)).toEqual([serial]);
});

test("300 revocations at once are all in the list, which has parts on the disk", async () => {
  const pki = await aPkiWithRoot();
  const serials: string[] = [];
  for (let i = 0; i < 300; i += 1) serials.push((await issue(pki))["serial_number"] ?? "");
  await Promise.all(serials.map((serial) => pki.write("revoke", { serial_number: serial })));
  expect((await serialsInCrl(pki)).toSorted()).toEqual(serials.toSorted());
  const again = await aPki({ storage: pki.storage });
  expect((await serialsInCrl(again)).toSorted()).toEqual(serials.toSorted());
});

test.each([
  { name: "nothing", data: {}, says: "neither of serial_number and certificate" },
  { name: "both", data: { serial_number: "01:02", certificate: "x" }, says: "both of serial_number" },
  { name: "no serial number", data: { serial_number: "xyz" }, says: '"xyz" is no serial number' },
  { name: "an unknown one", data: { serial_number: "01:02:03" }, says: '"01:02:03" not found' },
])("$name is refused", async ({ data, says }) => {
  const pki = await aPkiWithRoot();
  await expect(pki.write("revoke", data)).rejects.toMatchObject({
    code: "INPUT_INVALID",
    message: expect.stringContaining(says),
  });
});

test("an issuer's own certificate is refused, by serial number and by itself", async () => {
  const pki = await aPkiWithRoot();
  const { certificate = "" } = (await pki.read("cert/ca")) as { readonly certificate?: string };
  const serialNumber = new X509Certificate(certificate).serialNumber;
  for (const data of [{ certificate }, { serial_number: serialNumber }]) {
    await expect(pki.write("revoke", data)).rejects.toMatchObject({
      code: "INPUT_INVALID",
      message: expect.stringContaining("its own CRL"),
    });
  }
});

test("an expired certificate is not revoked unless the mount allows it", async () => {
  const pki = await aPkiWithRoot();
  const { serial_number: serial = "" } = await issue(pki);
  pki.clock.nowMs += 25 * HOUR_MS;
  const answer = await pki.ask("update", "revoke", { serial_number: serial });
  expect(answer?.data).toBeUndefined();
  expect(answer?.warnings?.[0]).toContain("expired already");
  expect(await serialsInCrl(pki)).toEqual([]);
  await pki.write("config/crl", { allow_expired_cert_revocation: true });
  expect(await pki.write("revoke", { serial_number: serial })).toMatchObject({ state: "revoked" });
  expect(await serialsInCrl(pki)).toEqual([serial]);
});

test("a certificate that was never kept is taken in when its issuer signed it, and revoked", async () => {
  const pki = await aPkiWithRoot();
  await pki.write("roles/web", { key_type: "ec", allow_any_name: true, no_store: true });
  const { serial_number: serial = "", certificate } = await issue(pki);
  expect(await pki.ask("read", `cert/${serial}`)).toBeUndefined();
  expect(await pki.write("revoke", { certificate })).toMatchObject({ state: "revoked" });
  expect(await pki.read(`cert/${serial}`)).toMatchObject({ certificate });
  expect(await serialsInCrl(pki)).toEqual([serial]);
});

test("a certificate of another authority is refused", async () => {
  const [pki, other] = await Promise.all([aPkiWithRoot(), aPkiWithRoot()]);
  const { certificate } = await issue(other);
  await expect(pki.write("revoke", { certificate })).rejects.toMatchObject({ code: "INPUT_INVALID" });
  expect(await pki.ask("list", "certs/revoked")).toBeUndefined();
});

test("whoever has the private key can revoke with it, nobody else", async () => {
  const pki = await aPkiWithRoot();
  const { serial_number, certificate, private_key = "" } = await issue(pki);
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const wrong = String(privateKey.export({ type: "sec1", format: "pem" }));
  for (const key of [wrong, "no key", private_key.slice(0, 80)]) {
    const refused = pki.write("revoke-with-key", { serial_number, private_key: key });
    await expect(refused).rejects.toMatchObject({ code: "INPUT_INVALID" });
    await expect(refused).rejects.not.toMatchObject({
      message: expect.stringContaining(key.slice(30, 60) || "?"),
    });
  }
  expect(await pki.ask("list", "certs/revoked")).toBeUndefined();
  expect(await pki.write("revoke-with-key", { certificate, private_key })).toMatchObject({
    state: "revoked",
  });
  for await (const value of storedValues(pki)) expect(value).not.toContain(private_key.slice(40, 100));
});

test("a lease that ends revokes its certificate, also when that is not there any more", async () => {
  const pki = await aPkiWithRoot();
  const { serial_number } = await issue(pki);
  await pki.backend.revokeLease?.({ serial_number });
  await pki.backend.revokeLease?.({ serial_number });
  await pki.backend.revokeLease?.({ serial_number: "01:02" });
  expect(await serialsInCrl(pki)).toEqual([serial_number]);
});

test("a lease that ends with its certificate leaves the list as it is", async () => {
  const pki = await aPkiWithRoot();
  const { serial_number } = await issue(pki);
  pki.clock.nowMs += 24 * HOUR_MS - 1000;
  await pki.backend.revokeLease?.({ serial_number });
  expect(await serialsInCrl(pki)).toEqual([]);
});

test("a revoked intermediate of the mount is in its parent's list", async () => {
  const pki = await aPkiWithRoot();
  const { csr } = await pki.write("intermediate/generate/internal", { common_name: "Sub", key_type: "ec" });
  const signed = await pki.write("root/sign-intermediate", { csr, common_name: "Sub", ttl: "8760h" });
  const { imported_issuers: [id] = [] } = (await pki.write("intermediate/set-signed", {
    certificate: signed["certificate"],
  })) as { readonly imported_issuers?: readonly string[] };
  await pki.write(`issuer/${id ?? ""}/revoke`);
  await pki.write(`issuer/${id ?? ""}/revoke`);
  expect(await serialsInCrl(pki)).toEqual([signed["serial_number"]]);
  expect(await serialsInCrl(pki, `issuer/${id ?? ""}/crl/der`)).toEqual([]);
});

test("a certificate whose issuer is gone is revoked with a warning that it is in no list", async () => {
  const pki = await aPkiWithRoot();
  const { serial_number } = await issue(pki);
  await pki.ask("delete", "issuer/default");
  const answer = await pki.ask("update", "revoke", { serial_number });
  expect(answer?.data).toMatchObject({ state: "revoked" });
  expect(answer?.warnings?.[0]).toContain("in no CRL");
  expect(await pki.ask("read", "crl")).toMatchObject({ raw: { body: "" } });
});

test.each(everyCrash(2))(
  "a crash at transaction $at, written: $written, leaves record and list in step",
  async (crash) => {
    const storage = new CrashingStorage();
    const pki = await aPkiWithRoot({ storage });
    const first = (await issue(pki))["serial_number"] ?? "";
    const second = (await issue(pki))["serial_number"] ?? "";
    await pki.write("revoke", { serial_number: first });
    storage.plan(crash);
    const outcomes = await Promise.allSettled([
      pki.write("revoke", { serial_number: second }),
      serialsInCrl(pki),
    ]);
    storage.plan(undefined);
    const after = await aPki({ storage: storage.disk });
    const revoked = (await after.ask("list", "certs/revoked"))?.data?.["keys"];
    expect((await serialsInCrl(after)).toSorted()).toEqual([...(revoked as readonly string[])].toSorted());
    const acknowledged = outcomes[0]?.status === "fulfilled" ? [second] : [];
    expect(revoked).toEqual(expect.arrayContaining(acknowledged));
    // The process that saw the failure and lives on tells the same.
    expect((await serialsInCrl(pki)).toSorted()).toEqual([...(revoked as readonly string[])].toSorted());
  },
);

test("a damaged part of a list is made again from the records", async () => {
  const pki = await aPkiWithRoot();
  const serials = [await issue(pki), await issue(pki)].map(({ serial_number = "" }) => serial_number);
  for (const serial_number of serials) await pki.write("revoke", { serial_number });
  const { entries } = await pki.storage.list("logical/1/crl-entries/");
  expect(entries).toHaveLength(1);
  const value = Uint8Array.of(0x30, 0x20, 0x02);
  await pki.storage.transaction([], [{ type: "put", key: entries[0]?.key ?? "", value }]);
  const again = await aPki({ storage: pki.storage });
  expect((await serialsInCrl(again)).toSorted()).toEqual(serials.toSorted());
  const third = (await issue(again))["serial_number"] ?? "";
  await again.write("revoke", { serial_number: third });
  const last = await aPki({ storage: pki.storage });
  expect((await serialsInCrl(last)).toSorted()).toEqual([...serials, third].toSorted());
});

test.skipIf(!hasOpenssl)("openssl accepts the chain before and refuses it after the revocation", async () => {
  const pki = await aPkiWithRoot();
  const { certificate = "", issuing_ca = "", serial_number } = await issue(pki);
  const verify = async () => {
    const crl = String((await pki.read("crl/pem"))["crl"]);
    return openssl(
      [
        "verify",
        "-crl_check",
        "-attime",
        String(pki.clock.nowMs / 1000),
        "-CAfile",
        "ca.pem",
        "-CRLfile",
        "crl.pem",
        "c.pem",
      ],
      { "ca.pem": issuing_ca, "crl.pem": crl, "c.pem": certificate },
    );
  };
  expect(await verify()).toContain("OK");
  await pki.write("revoke", { serial_number });
  await expect(verify()).rejects.toThrow("certificate revoked");
});

async function* storedValues(pki: TestPki): AsyncGenerator<string> {
  for (let after: string | undefined, more = true; more;) {
    const page = await pki.storage.list("", after === undefined ? {} : { after });
    for (const { value } of page.entries) yield Buffer.from(value).toString("latin1");
    after = page.entries.at(-1)?.key;
    more = page.more;
  }
}
