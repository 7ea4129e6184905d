import type { Secret, SleepOptions } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { memoryStorage } from "@rk8s/storage";
import { afterEach, beforeEach, expect, test } from "vitest";

import { openVault } from "../vault.js";
import { anUnsealedVault, type TestVault } from "../testing/unsealed-vault.js";
import { aLenderState, lenderBackend, type LenderState } from "../testing/lender-backend.js";

let state: LenderState;
let subject: TestVault;

beforeEach(async () => {
  state = aLenderState();
  subject = await anUnsealedVault({ backends: { lender: lenderBackend(state) } });
  await subject.vault.write(subject.root, "sys/mounts/db", { type: "lender" });
  const policy = `path "db/*" { capabilities = ["read"] }
path "auth/token/create" { capabilities = ["update"] }`;
  await subject.vault.write(subject.root, "sys/policies/acl/db", { policy });
});
afterEach(async () => {
  await subject[Symbol.asyncDispose]();
});

async function lend(name: string, data = {}, token: string = subject.root.reveal()): Promise<string> {
  return (await subject.vault.read(token, `db/lend/${name}`, data))?.lease_id ?? "";
}

/** Let time pass, and the background do what is due then. */
async function pass(seconds: number): Promise<void> {
  subject.advanceSeconds(seconds);
  await settle();
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 200; turn += 1) await Promise.resolve();
  await new Promise((resolve) => setImmediate(resolve));
}

async function leaseKeys(): Promise<readonly string[]> {
  const { entries } = await subject.vault.barrier.list("lease/");
  return entries.map(({ key }) => key).filter((key) => !/\/h[0-9a-f]{64}$/.test(key));
}

test("a secret's lease is in the answer, can be looked up, and is undone when its time is over", async () => {
  const answer = await subject.vault.read(subject.root, "db/lend/a");
  expect(answer).toMatchObject({ lease_duration: 60, renewable: true, data: { name: "a" } });
  const id = answer?.lease_id ?? "";
  expect(id).toMatch(/^db\/lend\/a\/[\w-]{24}$/);
  expect((await subject.vault.write(subject.root, "sys/leases/lookup", { lease_id: id }))?.data).toEqual({
    id,
    issue_time: "2027-01-15T08:00:00.000Z",
    expire_time: "2027-01-15T08:01:00.000Z",
    last_renewal: null,
    renewable: true,
    ttl: 60,
  });
  await pass(59);
  expect(state.revoked).toEqual([]);
  await pass(1);
  expect(state.revoked).toEqual(["a"]);
  await expect(
    subject.vault.write(subject.root, "sys/leases/lookup", { lease_id: id }),
  ).rejects.toMatchObject({ code: "INPUT_INVALID" });
  expect(await leaseKeys()).toEqual([]);
});

test.each(["sys/leases/renew", "sys/renew"])(
  "%s makes it last longer, up to its longest time",
  async (path) => {
    const id = await lend("a", { ttl: 60, max: 100 });
    subject.advanceSeconds(30);
    const renewed = await subject.vault.write(subject.root, path, { lease_id: id });
    expect(renewed).toMatchObject({ lease_id: id, lease_duration: 60, renewable: true });
    const short = await subject.vault.write(subject.root, `${path}/${id}`, { increment: 300 });
    expect(short).toMatchObject({ lease_duration: 70 });
    await pass(69);
    expect(state.revoked).toEqual([]);
    await pass(1);
    expect(state.revoked).toEqual(["a"]);
    await expect(subject.vault.write(subject.root, path, { lease_id: id })).rejects.toMatchObject({
      code: "INPUT_INVALID",
    });
  },
);

test.each(["sys/leases/revoke", "sys/revoke"])("%s undoes it at once", async (path) => {
  await subject.vault.write(subject.root, path, { lease_id: await lend("a") });
  await subject.vault.write(subject.root, `${path}/${await lend("b")}`, {});
  expect(state.revoked).toEqual(["a", "b"]);
  expect(await leaseKeys()).toEqual([]);
  await subject.vault.write(subject.root, path, { lease_id: "db/lend/a/nothing" });
});

test("what cannot be undone has ended all the same, and is tried again until it can", async () => {
  const id = await lend("a");
  let tries = 0;
  state.onRevoke = () => {
    tries += 1;
    if (tries < 5) throw new Error("the database is away");
  };
  await subject.vault.write(subject.root, "sys/leases/revoke", { lease_id: id });
  expect(tries).toBe(1);
  await expect(subject.vault.write(subject.root, "sys/leases/renew", { lease_id: id })).rejects.toMatchObject(
    { code: "INPUT_INVALID" },
  );
  await expect(
    subject.vault.write(subject.root, "sys/leases/revoke", { lease_id: id, sync: true }),
  ).rejects.toThrow("the database is away");
  // 5, 10, 20, 40 s after each failure.
  await pass(9);
  expect(tries).toBe(2);
  await pass(1);
  expect(tries).toBe(3);
  await pass(19);
  expect(tries).toBe(3);
  await pass(1);
  expect(tries).toBe(4);
  await pass(40);
  expect(tries).toBe(5);
  expect(state.revoked).toEqual(["a"]);
  expect(await leaseKeys()).toEqual([]);
});

test("a backend that hangs holds nobody up for long, and nothing is lost by it", async () => {
  await lend("slow");
  await lend("quick");
  state.onRevoke = (name) => (name === "slow" ? new Promise(() => undefined) : undefined);
  await pass(60);
  expect(state.revoked).toEqual(["quick"]);
  state.onRevoke = () => undefined;
  await pass(30);
  await pass(5);
  await pass(5);
  expect(state.revoked).toEqual(["quick", "slow"]);
});

test("leases end with their token, at once and whoever ends it", async () => {
  const parent = await subject.tokenWith({ policies: ["db"], ttl: "100s" });
  const child = (await subject.vault.write(parent, "auth/token/create", {}))?.auth?.client_token ?? "";
  await lend("parents", { ttl: 500 }, parent);
  await lend("childs", { ttl: 500 }, child);
  await lend("roots", { ttl: 500 });
  await subject.vault.write(parent, "auth/token/revoke-self", {});
  await pass(0);
  expect(state.revoked.toSorted()).toEqual(["childs", "parents"]);
  const short = await subject.tokenWith({ policies: ["db"], ttl: "50s" });
  await lend("expired", { ttl: 500 }, short);
  await pass(50);
  await pass(0);
  expect(state.revoked).toContain("expired");
  expect(state.revoked).not.toContain("roots");
});

test("a token that is revoked while its secret is made gets none, and the secret is undone", async () => {
  const token = await subject.tokenWith({ policies: ["db"] });
  state.onLend = async () => {
    state.onLend = () => undefined;
    await subject.vault.write(subject.root, "auth/token/revoke", { token });
  };
  await expect(lend("a", {}, token)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  expect(state.revoked).toEqual(["a"]);
  expect(await leaseKeys()).toEqual([]);
});

test("the last use of a token gives no secret that would end with it", async () => {
  const token = await subject.tokenWith({ policies: ["db"], num_uses: 2 });
  expect(await lend("a", {}, token)).not.toBe("");
  await expect(lend("b", {}, token)).rejects.toMatchObject({ code: "INPUT_INVALID" });
  await pass(0);
  expect(state.revoked.toSorted()).toEqual(["a", "b"]);
});

test("a batch token's leases end with its parent, or with it when it has none", async () => {
  const parent = await subject.tokenWith({ policies: ["db"] });
  const made = await subject.vault.write(parent, "auth/token/create", { type: "batch", ttl: "20s" });
  await lend("with parent", { ttl: 500 }, made?.auth?.client_token);
  const orphan = await subject.vault.write(subject.root, "auth/token/create-orphan", {
    type: "batch",
    policies: ["db"],
    ttl: "20s",
  });
  const answer = await subject.vault.read(orphan?.auth?.client_token ?? "", "db/lend/b", { ttl: 500 });
  expect(answer?.lease_duration).toBe(20);
  await pass(20);
  expect(state.revoked).toEqual(["b"]);
  await subject.vault.write(subject.root, "auth/token/revoke", { token: parent });
  await pass(0);
  expect(state.revoked).toEqual(["b", "with parent"]);
});

test("revoke-prefix ends what is below a path, tokens too, and nothing beside it", async () => {
  await lend("a");
  await lend("ab");
  const token = await subject.tokenWith({ policies: ["db"] });
  await subject.vault.write(subject.root, "sys/leases/revoke-prefix/db/lend/a", { sync: true });
  expect(state.revoked).toEqual(["a"]);
  await subject.vault.write(subject.root, "sys/revoke-prefix/auth/token/create", {});
  await expect(subject.vault.read(token, "auth/token/lookup-self")).rejects.toMatchObject({
    code: "PERMISSION_DENIED",
  });
  expect(await subject.vault.read(subject.root, "auth/token/lookup-self")).toBeDefined();
});

test("revoke-force forgets what cannot be undone", async () => {
  await lend("a");
  state.onRevoke = () => {
    throw new Error("gone for good");
  };
  await expect(
    subject.vault.write(subject.root, "sys/leases/revoke-prefix/db", { sync: true }),
  ).rejects.toThrow("gone for good");
  await subject.vault.write(subject.root, "sys/leases/revoke-force/db", {});
  expect(await leaseKeys()).toEqual([]);
});

test("leases and tokens are listed folder by folder, for whoever has sudo", async () => {
  const id = await lend("a");
  await lend("b");
  await subject.tokenWith({ policies: ["db"] });
  const list = async (path: string): Promise<unknown> =>
    (await subject.vault.list(subject.root, `sys/leases/lookup/${path}`))?.data?.["keys"];
  expect(await list("")).toEqual(["auth/", "db/"]);
  expect(await list("db/lend/")).toEqual(["a/", "b/"]);
  expect(await list("db/lend/a")).toEqual([id.split("/").at(-1)]);
  expect(await list("auth/token/create")).toEqual([expect.stringMatching(/^h[0-9a-f]{64}$/)]);
  expect(await list("nothing")).toBeUndefined();
  const policy = `path "sys/leases/*" { capabilities = ["update", "list"] }`;
  await subject.vault.write(subject.root, "sys/policies/acl/l", { policy });
  const token = await subject.tokenWith({ policies: ["l"] });
  await expect(subject.vault.list(token, "sys/leases/lookup/db")).rejects.toMatchObject({
    code: "PERMISSION_DENIED",
  });
});

test("a token's lease is looked up and revoked, but not renewed", async () => {
  const token = await subject.tokenWith({ ttl: "1h" });
  const keys = (await subject.vault.list(subject.root, "sys/leases/lookup/auth/token/create"))?.data?.[
    "keys"
  ];
  const id = `auth/token/create/${(keys as string[])[0]}`;
  expect(
    (await subject.vault.write(subject.root, "sys/leases/lookup", { lease_id: id }))?.data,
  ).toMatchObject({ id, ttl: 3600 });
  await expect(subject.vault.write(subject.root, "sys/leases/renew", { lease_id: id })).rejects.toMatchObject(
    { code: "INPUT_INVALID" },
  );
  await subject.vault.write(subject.root, "sys/leases/revoke", { lease_id: id });
  await expect(subject.vault.read(token, "auth/token/lookup-self")).rejects.toMatchObject({
    code: "PERMISSION_DENIED",
  });
});

test("what fell due while the vault was sealed is undone after the next unseal", async () => {
  await lend("a");
  await lend("later", { ttl: 500 });
  await subject.vault.seal();
  subject.advanceSeconds(100);
  await settle();
  expect(state.revoked).toEqual([]);
  await subject.vault.unseal(subject.share);
  await settle();
  expect(state.revoked).toEqual(["a"]);
});

test("unmounting undoes all leases first, and says so when it cannot", async () => {
  await lend("a");
  state.onRevoke = () => {
    throw new Error("the database is away");
  };
  await expect(subject.vault.delete(subject.root, "sys/mounts/db")).rejects.toThrow("the database is away");
  state.onRevoke = () => undefined;
  await subject.vault.delete(subject.root, "sys/mounts/db");
  expect(state.revoked).toEqual(["a"]);
  expect(await leaseKeys()).toEqual([]);
});

test("a clock that was put back ends nothing early, and what was over stays over", async () => {
  const id = await lend("a");
  subject.clock.jump(-3600_000);
  await settle();
  expect(
    (await subject.vault.write(subject.root, "sys/leases/lookup", { lease_id: id }))?.data,
  ).toMatchObject({
    ttl: 3660,
  });
  subject.clock.jump(3600_000);
  await pass(60);
  expect(state.revoked).toEqual(["a"]);
  subject.clock.jump(-3600_000);
  await expect(
    subject.vault.write(subject.root, "sys/leases/lookup", { lease_id: id }),
  ).rejects.toMatchObject({ code: "INPUT_INVALID" });
});

test("a clock that is put forward is noticed within a minute", async () => {
  await lend("a", { ttl: 500 });
  subject.clock.jump(600_000);
  await pass(60);
  expect(state.revoked).toEqual(["a"]);
});

test("a token is revoked with its leases or not at all, whatever write of it fails", async () => {
  const storage = memoryStorage();
  let left = Number.POSITIVE_INFINITY;
  let kept: { readonly share: Secret<string>; readonly root: Secret<string> } | undefined;
  const failing = {
    get: storage.get.bind(storage),
    list: storage.list.bind(storage),
    watch: storage.watch.bind(storage),
    transaction: (...args: Parameters<typeof storage.transaction>) => {
      left -= args[1].length > 0 ? 1 : 0;
      return left < 0 ? Promise.reject(new Error("crash")) : storage.transaction(...args);
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  for (let crashAt = 0; crashAt < 6; crashAt += 1) {
    left = Number.POSITIVE_INFINITY;
    state.revoked.length = 0;
    const clock = new FakeClock();
    const init = { storage: failing, backends: { lender: lenderBackend(state) } };
    await using vault = await openVault(init, { clock });
    if (crashAt === 0) {
      const { shares, rootToken } = await vault.init({ shares: 1, threshold: 1 });
      kept = { share: shares[0]!, root: rootToken };
      await vault.unseal(kept.share);
      await vault.write(kept.root, "sys/mounts/db", { type: "lender" });
    } else await vault.unseal(kept!.share);
    const { root } = kept!;
    const token = (await vault.write(root, "auth/token/create", { ttl: "1h" }))?.auth?.client_token ?? "";
    await vault.read(token, "db/lend/a", { ttl: 500 });
    left = crashAt;
    await vault.write(root, "auth/token/revoke", { token }).catch(() => undefined);
    await settle();
    left = Number.POSITIVE_INFINITY;
    await vault.seal();
    // Whatever was written: either the token lives, or it is dead and its lease is undone.
    await vault.unseal(kept!.share);
    await settle();
    const isAlive = await vault.read(token, "auth/token/lookup-self").then(
      () => true,
      () => false,
    );
    expect({ crashAt, isAlive, revoked: [...new Set(state.revoked)] }).toEqual({
      crashAt,
      isAlive: crashAt === 0,
      revoked: crashAt === 0 ? [] : ["a"],
    });
  }
});

test("nothing that waits in the background keeps a program alive that forgot to seal its vault", async () => {
  const waits: (boolean | undefined)[] = [];
  class NotingClock extends FakeClock {
    override sleep(ms: number, options: SleepOptions = {}): Promise<void> {
      waits.push(options.background);
      return super.sleep(ms, options);
    }
  }
  await using vault = await openVault({ storage: memoryStorage() }, { clock: new NotingClock() });
  const { shares } = await vault.init({ shares: 1, threshold: 1 });
  await vault.unseal(shares[0] ?? "");
  await settle();
  expect(waits.length).toBeGreaterThan(0);
  expect(waits.every((background) => background === true)).toBe(true);
});
