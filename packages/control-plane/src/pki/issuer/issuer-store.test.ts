import { memoryStorage, type Storage } from "@rk8s/storage";
import { expect, test } from "vitest";
import { createFastKeyPair } from "../key-pair.js";
import { TEST_PREFIX, aPki } from "../testing/a-pki-backend.js";
import { AccessConfig } from "./access-config.js";
import { IssuerStore } from "./issuer-store.js";

const clock = { now: () => 0 };

/** Memory that counts how often private keys are read. */
function countingStorage(): { readonly storage: Storage; readonly reads: () => number } {
  const storage = memoryStorage();
  let reads = 0;
  const get = storage.get.bind(storage);
  storage.get = (key) => {
    if (key.includes("private-keys/")) reads += 1;
    return get(key);
  };
  return { storage, reads: () => reads };
}

async function open(storage: Storage): Promise<IssuerStore> {
  return IssuerStore.open(storage, TEST_PREFIX, {
    access: await AccessConfig.open(storage, TEST_PREFIX),
    clock,
  });
}

test("a private key is read once for many signatures, and again after a change or a seal", async () => {
  const { storage, reads } = countingStorage();
  const pki = await aPki({ storage });
  await pki.write("root/generate/internal", { common_name: "R", key_type: "ec" });
  const issuers = await open(storage);
  const sign = () => issuers.authority(issuers.require("default"), "issuing-certificates");
  const [first] = await Promise.all(Array.from({ length: 50 }, sign));
  expect(await sign()).toBe(first);
  expect(reads()).toBe(1);
  await issuers.change((change) => change.updateIssuer(issuers.require("default").id, { name: "x" }));
  expect(await sign()).not.toBe(first);
  expect(reads()).toBe(2);
  issuers.close();
  await sign();
  expect(reads()).toBe(3);
});

test("more than 32 issuers push each other's keys out of memory", async () => {
  const { storage, reads } = countingStorage();
  const pki = await aPki({ storage });
  for (let n = 0; n < 33; n++)
    await pki.write("root/generate/internal", { common_name: `R${n}`, key_type: "ec" });
  const issuers = await open(storage);
  for (let round = 1; round <= 2; round++) {
    for (const issuer of issuers.state.issuers.values()) {
      await issuers.authority(issuer, "issuing-certificates");
    }
    expect(reads()).toBe(33 * round);
  }
});

test("a key that cannot be read is not remembered as such", async () => {
  const storage = memoryStorage();
  const pki = await aPki({ storage });
  await pki.write("root/generate/internal", { common_name: "R", key_type: "ec" });
  const issuers = await open(storage);
  const issuer = issuers.require("default");
  const key = `${TEST_PREFIX}private-keys/${issuer.keyId}`;
  const entry = await storage.get(key);
  await storage.transaction([], [{ type: "delete", key }]);
  const refused = issuers.authority(issuer, "issuing-certificates");
  await expect(refused).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
  await storage.transaction([], [{ type: "put", key, value: entry?.value ?? new Uint8Array() }]);
  await expect(issuers.authority(issuer, "issuing-certificates")).resolves.toBeDefined();
});

test("a change that throws changes nothing, and lets the next one through", async () => {
  const issuers = await open(memoryStorage());
  const { privateKey } = createFastKeyPair({ type: "ec", bits: 256 });
  const failing = issuers.change((change) => {
    change.addKey(privateKey, { name: "k" });
    throw new RangeError("stop");
  });
  const next = issuers.change((change) => change.addKey(privateKey, { name: "k" }).existing);
  await expect(failing).rejects.toThrow("stop");
  await expect(next).resolves.toBe(false);
  expect(issuers.keys.find("k")?.type).toBe("ec");
});

test("who would wait behind a hundred changes is told to come back", async () => {
  const issuers = await open(memoryStorage());
  const waiting = Array.from({ length: 100 }, () => issuers.change(() => undefined));
  await expect(issuers.change(() => undefined)).rejects.toMatchObject({ code: "BUSY" });
  await Promise.all(waiting);
  await expect(issuers.change(() => undefined)).resolves.toBeUndefined();
});

test.each(["issuers/x", "keys/x", "config/defaults"])("a damaged record %s is named", async (name) => {
  const storage = memoryStorage();
  await storage.transaction([], [{ type: "put", key: TEST_PREFIX + name, value: Buffer.from("{") }]);
  await expect(open(storage)).rejects.toMatchObject({
    code: "STORAGE_CORRUPT",
    message: expect.stringContaining(name) as string,
  });
});
