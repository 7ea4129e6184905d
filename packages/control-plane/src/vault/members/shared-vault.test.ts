import { RksError, type Secret } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { memoryStorage, type Storage } from "@rk8s/storage";
import { decodePem, parseCrl, revokedCertificates } from "@rk8s/x509";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openVault } from "../../open-vault.js";
import type { JsonObject } from "../backend.js";
import type { Vault } from "../vault.js";

const SOON = { timeout: 2_000, interval: 5 };

let storage: Storage;
let one: Vault;
let other: Vault;
let root: Secret<string>;
let share: Secret<string>;

/** Two processes with the same vault. */
beforeEach(async () => {
  storage = memoryStorage();
  one = await openVault(
    { storage, shared: () => true },
    { clock: new FakeClock({ now: 1_800_000_000_000 }) },
  );
  const made = await one.init({ shares: 1, threshold: 1 });
  root = made.rootToken;
  share = made.shares[0]!;
  await one.unseal(share);
  other = await openVault(
    { storage, shared: () => true },
    { clock: new FakeClock({ now: 1_800_000_000_000 }) },
  );
  await other.unseal(share);
});
afterEach(async () => {
  await one[Symbol.asyncDispose]();
  await other[Symbol.asyncDispose]();
});

async function tokenWith(data: JsonObject): Promise<string> {
  return (await one.write(root, "auth/token/create", data))?.auth?.client_token ?? "";
}

/** The code of a refusal, or "done". */
async function outcome(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "done",
    (reason: unknown) => RksError.from(reason).code,
  );
}

test("what one writes the other reads", async () => {
  await one.write(root, "sys/mounts/kv", { type: "kv" });
  await expect.poll(() => outcome(other.write(root, "kv/a", { value: "1" })), SOON).toBe("done");
  expect((await one.read(root, "kv/a"))?.data).toEqual({ value: "1" });
});

test("a policy that one changes holds at the other", async () => {
  await one.write(root, "sys/policies/acl/reader", {
    policy: 'path "sys/mounts" { capabilities = ["read"] }',
  });
  const token = await tokenWith({ policies: ["reader"] });
  expect(await outcome(other.read(token, "sys/mounts"))).toBe("done");
  await one.write(root, "sys/policies/acl/reader", {
    policy: 'path "sys/mounts" { capabilities = ["deny"] }',
  });
  await expect.poll(() => outcome(other.read(token, "sys/mounts")), SOON).toBe("PERMISSION_DENIED");
});

test("a token that one revokes is refused by the other, with those below it", async () => {
  const token = await tokenWith({ policies: ["root"] });
  const child = (await other.write(token, "auth/token/create", {}))?.auth?.client_token ?? "";
  expect(await outcome(other.read(child, "sys/mounts"))).toBe("done");
  await one.write(root, "auth/token/revoke", { token });
  await expect.poll(() => outcome(other.read(child, "sys/mounts")), SOON).toBe("PERMISSION_DENIED");
});

test("a token with one use that meets both at once is used once", async () => {
  for (let round = 0; round < 10; round += 1) {
    const token = await tokenWith({ num_uses: 1, policies: ["default"] });
    const outcomes = await Promise.all([
      outcome(one.read(token, "auth/token/lookup-self")),
      outcome(other.read(token, "auth/token/lookup-self")),
    ]);
    expect(outcomes.toSorted()).toEqual(["PERMISSION_DENIED", "done"]);
  }
});

test("a mount that one removes is gone at the other", async () => {
  await one.write(root, "sys/mounts/kv", { type: "kv" });
  await expect.poll(() => outcome(other.write(root, "kv/a", { value: "1" })), SOON).toBe("done");
  await other.delete(root, "sys/mounts/kv");
  await expect.poll(() => outcome(one.read(root, "kv/a")), SOON).toBe("NOT_FOUND");
});

test("mounts that both make at once are both there, or one is told to try again", async () => {
  const outcomes = await Promise.all([
    outcome(one.write(root, "sys/mounts/a", { type: "kv" })),
    outcome(other.write(root, "sys/mounts/b", { type: "kv" })),
  ]);
  expect(outcomes.every((each) => each === "done" || each === "CONFLICT")).toBe(true);
  await expect.poll(() => outcome(other.write(root, "sys/mounts/c", { type: "kv" })), SOON).toBe("done");
  const wanted = ["a/", "b/"].filter((_, index) => outcomes[index] === "done");
  await expect
    .poll(async () => Object.keys((await one.read(root, "sys/mounts"))?.data ?? {}), SOON)
    .toEqual(expect.arrayContaining([...wanted, "c/"]));
});

test("what was encrypted under a key that one has made is read by the other, which makes the next", async () => {
  await one.write(root, "sys/mounts/kv", { type: "kv" });
  expect(await one.rotateKey()).toEqual({ term: 2 });
  await one.write(root, "kv/a", { value: "under 2" });
  await expect.poll(async () => (await other.read(root, "kv/a"))?.data, SOON).toEqual({ value: "under 2" });
  const made = await Promise.all([one.rotateKey(), other.rotateKey()]);
  expect(new Set(made.map(({ term }) => term))).toEqual(new Set([3, 4]));
  await other.write(root, "kv/b", { value: "under 4" });
  await expect.poll(async () => (await one.read(root, "kv/b"))?.data, SOON).toEqual({ value: "under 4" });
  expect((await one.read(root, "kv/a"))?.data).toEqual({ value: "under 2" });
});

test("after one was rekeyed the other goes on, until it would need the new root key", async () => {
  await one.write(root, "sys/mounts/kv", { type: "kv" });
  const begun = (await one.write(root, "sys/rekey/init", { secret_shares: 1, secret_threshold: 1 }))?.data;
  await one.write(root, "sys/rekey/update", { key: share.reveal(), nonce: begun?.["nonce"] });
  await one.write(root, "kv/a", { value: "1" });
  await expect.poll(async () => (await other.read(root, "kv/a"))?.data, SOON).toEqual({ value: "1" });
  expect(await outcome(other.rotateKey())).toBe("UNAVAILABLE");
  await one.rotateKey();
  await one.write(root, "kv/a", { value: "2" });
  await outcome(other.read(root, "kv/a"));
  await expect.poll(() => other.status().sealed, SOON).toBe(true);
  expect(await outcome(other.unseal(share))).toBe("UNSEAL_KEY_INVALID");
});

test("certificates that both revoke at once are all in the list", async () => {
  await one.write(root, "sys/mounts/pki", { type: "pki", config: { max_lease_ttl: "87600h" } });
  await one.write(root, "pki/root/generate/internal", { common_name: "Root", key_type: "ec", ttl: "43800h" });
  await one.write(root, "pki/roles/web", { allow_any_name: true, key_type: "ec" });
  const issue = { common_name: "a.example", ttl: "1h" };
  await expect.poll(() => outcome(other.write(root, "pki/issue/web", issue)), SOON).toBe("done");
  const serials: string[] = [];
  for (let count = 0; count < 12; count += 1) {
    const vault = count % 2 === 0 ? one : other;
    const issued = (await vault.write(root, "pki/issue/web", issue))?.data;
    serials.push(String(issued?.["serial_number"]));
  }
  await Promise.all(
    serials.map((serial_number, index) =>
      (index % 3 === 0 ? one : other).write(root, "pki/revoke", { serial_number }),
    ),
  );
  for (const vault of [one, other]) {
    await expect
      .poll(async () => {
        const crl = String((await vault.read(root, "pki/cert/crl"))?.data?.["certificate"]);
        const [block] = decodePem(crl, { code: "CRL_INVALID" });
        return [...revokedCertificates(parseCrl(block!.der))].length;
      }, SOON)
      .toBe(12);
  }
});

test("one of them is the steward, and the other when that one leaves", async () => {
  const held = (): boolean[] => [one, other].map((vault) => vault.sharing.stewardship.isHeld);
  await expect.poll(held, SOON).toEqual([true, false]);
  await one.seal();
  expect(one.status().sealed).toBe(true);
  expect(other.sharing.members.id).not.toBe("");
});

test("a vault that was put back as a whole is refused by one who remembers all transactions", async () => {
  await expect.poll(() => other.sequence > 0, SOON).toBe(true);
  const seen = other.sequence + 100;
  await other.seal();
  const late = await openVault({ storage, shared: () => true, minimumSequence: seen });
  expect(await outcome(late.unseal(share))).toBe("STORAGE_CORRUPT");
});
