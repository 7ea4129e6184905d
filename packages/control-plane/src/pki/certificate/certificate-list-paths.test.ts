import { memoryStorage } from "@rk8s/storage";
import fc from "fast-check";
import { expect, test } from "vitest";
import { aPki, type TestPki } from "../testing/a-pki-backend.js";
import { ExpiryIndex } from "./expiry-index.js";

const HOUR_MS = 3_600_000;

async function aPkiWithCertificates(): Promise<
  TestPki & { readonly serials: Readonly<Record<string, string>> }
> {
  const pki = await aPki();
  await pki.write("root/generate/internal", { common_name: "Test Root", key_type: "ec", ttl: "87600h" });
  await pki.write("roles/web", { key_type: "ec", allow_any_name: true, max_ttl: "8760h" });
  const serials: Record<string, string> = {};
  const wanted = [
    { common_name: "a.example.com", ttl: "10h", alt_names: "b1.com,b2.com,b3.com,b4.com,b5.com,b6.com" },
    { common_name: "b.example.com", ttl: "20h" },
    { common_name: "c.other.org", ttl: "30h", alt_names: "WWW.Other.org" },
  ];
  for (const data of wanted) {
    const issued = await pki.write("issue/web", data);
    serials[data.common_name] = String(issued["serial_number"]);
  }
  return { ...pki, serials };
}

async function names(pki: TestPki, query: object): Promise<readonly string[]> {
  const info = (await pki.ask("list", "certs/detailed", query))?.data?.["key_info"] ?? {};
  return Object.values(info as Record<string, { readonly common_name: string }>).map(
    ({ common_name }) => common_name,
  );
}

test("serial numbers are listed a page at a time", async () => {
  const pki = await aPkiWithCertificates();
  const { keys } = (await pki.ask("list", "certs"))?.data ?? {};
  const all = keys as readonly string[];
  expect(all).toHaveLength(4);
  expect(all).toEqual(all.toSorted());
  const paged: string[] = [];
  for (let after = ""; paged.length < 4;) {
    const page = (await pki.ask("list", "certs", { after, limit: "1" }))?.data?.["keys"] as readonly string[];
    expect(page).toHaveLength(1);
    after = page[0] ?? "";
    paged.push(after);
  }
  expect(paged).toEqual(all);
  expect(await pki.ask("list", "certs", { after: all[3], limit: 1 })).toBeUndefined();
});

test("an overview tells names, issuer, key and lifetime, five names at most", async () => {
  const pki = await aPkiWithCertificates();
  const serial = pki.serials["a.example.com"] ?? "";
  const answer = await pki.ask("list", "certs/detailed", { common_name: "a.example" });
  const { issuer_id } = await pki.read("issuer/default");
  expect(answer?.data).toEqual({
    keys: [serial],
    key_info: {
      [serial]: {
        common_name: "a.example.com",
        issuer: "Test Root",
        issuer_id,
        key_type: "ec",
        key_bits: 256,
        not_before: new Date(pki.clock.nowMs - 30_000).toISOString(),
        not_after: new Date(pki.clock.nowMs + 10 * HOUR_MS).toISOString(),
        dns_names: expect.objectContaining({ length: 5 }),
      },
    },
  });
});

test.each([
  { query: { common_name: "EXAMPLE" }, found: ["a.example.com", "b.example.com"] },
  { query: { common_name: "*.example.com" }, found: ["a.example.com", "b.example.com"] },
  { query: { common_name: "example*" }, found: [] },
  { query: { dns_name: "www.other.org" }, found: ["c.other.org"] },
  { query: { dns_name: "b6" }, found: ["a.example.com"] },
  { query: { expires_before: "15h" }, found: ["a.example.com"] },
  { query: { expires_before: "144000", expires_after: "15h" }, found: ["b.example.com", "c.other.org"] },
  { query: { expires_before: "2026-06-02T08:00:00Z" }, found: ["a.example.com"] },
  { query: { expires_before: "2026-06-02T08:00:01Z" }, found: ["a.example.com", "b.example.com"] },
  { query: { expires_before: "30d", limit: 1 }, found: ["a.example.com"] },
  { query: { issuer: "default", common_name: "c." }, found: ["c.other.org"] },
])("certificates are found by $query", async ({ query, found }) => {
  const pki = await aPkiWithCertificates();
  expect((await names(pki, query)).toSorted()).toEqual(found);
});

test("a search by end goes on after a serial number", async () => {
  const pki = await aPkiWithCertificates();
  const query = { expires_before: "30d", after: pki.serials["a.example.com"] };
  expect(await names(pki, query)).toEqual(["b.example.com", "c.other.org"]);
});

test.each([
  { query: { expires_before: "soon" } },
  { query: { issuer: "nobody" } },
  { query: { after: "xyz" } },
])("$query is refused", async ({ query }) => {
  const pki = await aPkiWithCertificates();
  await expect(pki.ask("list", "certs/detailed", query)).rejects.toMatchObject({ code: "INPUT_INVALID" });
});

test("a certificate that cannot be parsed is passed over by searches", async () => {
  const pki = await aPkiWithCertificates();
  const key = `logical/1/certs/${(pki.serials["a.example.com"] ?? "").replaceAll(":", "")}`;
  await pki.storage.transaction([], [{ type: "put", key, value: Buffer.alloc(50, 1) }]);
  expect(await names(pki, { expires_before: "30d" })).toEqual(["b.example.com", "c.other.org"]);
  expect((await pki.ask("list", "certs"))?.data?.["keys"]).toHaveLength(4);
});

test.each([
  { name: "with colons", spell: (serial: string) => serial },
  { name: "with hyphens", spell: (serial: string) => serial.replaceAll(":", "-") },
  { name: "in capitals", spell: (serial: string) => serial.toUpperCase() },
  { name: "as digits alone", spell: (serial: string) => serial.replaceAll(":", "") },
])("a certificate is read by its serial number $name", async ({ spell }) => {
  const pki = await aPkiWithCertificates();
  const serial = pki.serials["b.example.com"] ?? "";
  const { issuer_id } = await pki.read("issuer/default");
  expect(await pki.read(`cert/${spell(serial)}`)).toEqual({
    certificate: expect.stringContaining("BEGIN CERTIFICATE"),
    expiration: (pki.clock.nowMs + 20 * HOUR_MS) / 1000,
    revocation_time: 0,
    revocation_time_rfc3339: "",
    issuer_id,
  });
});

test("what is no serial number, or nobody's, is not there", async () => {
  const pki = await aPkiWithCertificates();
  for (const text of ["xyz", "01", "0", "aa:", "%"]) {
    expect(await pki.ask("read", `cert/${text}`)).toBeUndefined();
  }
});

test("an index by end gives what any sorted list would", async () => {
  const ending = fc.record({ at: fc.integer({ min: 0, max: 50 }), serial: fc.integer({ min: 0, max: 99 }) });
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(ending, { selector: ({ serial }) => serial, maxLength: 30 }),
      fc.integer({ min: 0, max: 50 }),
      fc.integer({ min: 0, max: 60 }),
      async (all, from, before) => {
        const storage = memoryStorage();
        const index = new ExpiryIndex(storage, "p/");
        const endings = all.map(({ at, serial }) => ({
          notAfterMs: at * 1000,
          serialNumber: String(serial).padStart(2, "0"),
        }));
        for (const one of endings) await storage.transaction([], [index.put(one)]);
        const pages: unknown[] = [];
        const range = { fromMs: from * 1000, beforeMs: before * 1000, limit: 3 };
        for await (const page of index.pages(range)) pages.push(...page);
        const expected = endings
          .filter(({ notAfterMs }) => notAfterMs >= from * 1000 && notAfterMs < before * 1000)
          .toSorted((a, b) => a.notAfterMs - b.notAfterMs || a.serialNumber.localeCompare(b.serialNumber));
        expect(pages).toEqual(expected);
      },
    ),
    { numRuns: 50 },
  );
});
