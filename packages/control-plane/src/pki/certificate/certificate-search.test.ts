import { decodePemCertificates } from "@rk8s/x509";
import { expect, test } from "vitest";
import { KeyMaker } from "../key-maker.js";
import { openPkiMount, type PkiMount } from "../pki-mount.js";
import { aPki, TEST_NOW_MS, TEST_PREFIX } from "../testing/a-pki-backend.js";
import { searchCertificates } from "./certificate-search.js";

/** A mount with 450 certificates of the same name. */
async function aFullMount(): Promise<PkiMount> {
  const { storage, write } = await aPki();
  const root = await write("root/generate/internal", { common_name: "Root", key_type: "ec", ttl: "8760h" });
  const [der = new Uint8Array()] = decodePemCertificates(String(root["certificate"]));
  const clock = { now: () => TEST_NOW_MS, monotonicMs: () => 0, sleep: () => Promise.resolve() };
  const mount = {
    path: "pki/",
    type: "pki",
    accessor: "pki_test",
    options: {},
    storagePrefix: TEST_PREFIX,
    defaultTtlSeconds: 0,
    maxTtlSeconds: 0,
  };
  const pki = await openPkiMount(mount, storage, { clock, keyMaker: new KeyMaker() });
  for (let i = 0; i < 450; i += 1) {
    const serialNumber = `40${String(i).padStart(6, "0")}`;
    await storage.transaction([], pki.certificates.writes(serialNumber, { der, issuerId: "", role: "" }));
  }
  return pki;
}

test.each([
  { name: "by serial number", expiresBeforeMs: undefined },
  { name: "by end", expiresBeforeMs: TEST_NOW_MS * 2 },
])(
  "a search $name that looked at enough says where to go on, and misses nothing",
  async ({ expiresBeforeMs }) => {
    const pki = await aFullMount();
    const filter = {
      common_name: "",
      dns_name: "",
      issuerId: "",
      expiresAfterMs: undefined,
      expiresBeforeMs,
    };
    const seen = new Set<string>();
    let after: string | undefined;
    let rounds = 0;
    do {
      const result = await searchCertificates(pki, filter, { after, limit: 1000, maxExamined: 200 });
      for (const { serialNumber } of result.found) seen.add(serialNumber);
      after = result.continueAfter;
      rounds += 1;
    } while (after !== undefined);
    expect(rounds).toBe(3);
    expect([...seen].filter((serialNumber) => serialNumber.startsWith("400"))).toHaveLength(450);
  },
);

test("how many certificates end soon is counted by windows", async () => {
  const pki = await aFullMount();
  const day = 86_400_000;
  expect(await pki.certificates.endingWithin(TEST_NOW_MS, [day, 364 * day, 366 * day])).toEqual([0, 0, 451]);
});
