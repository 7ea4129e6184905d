import { RksError, silentLogger } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { memoryStorage, type Storage, type Write } from "@rk8s/storage";
import { expect, test } from "vitest";
import type { StoreConfig } from "../config/config.js";
import { Barrier } from "../vault/seal/barrier.js";
import { Keyring } from "../vault/seal/keyring.js";
import { type MovedVault, StoreMover } from "./store-mover.js";
import { SwitchableStorage } from "./switchable-storage.js";

const there: StoreConfig = { type: "etcd", endpoints: ["http://127.0.0.1:1"], prefix: "/rk8s" };
const sealed = new RksError("UNAVAILABLE", "the vault is being sealed");

interface Rig {
  readonly mover: StoreMover;
  readonly vault: MovedVault;
  readonly clock: FakeClock;
}

/** A vault with some entries that can be moved to what `openTarget` gives. */
async function aRig(openTarget: () => Promise<Storage>): Promise<Rig> {
  const clock = new FakeClock();
  const storage = new SwitchableStorage(memoryStorage());
  const guard = Barrier.create(storage, Keyring.create(clock.now()));
  const seal: Write[] = ["core/seal-config", "core/keyring"].map((key) => ({
    type: "put",
    key,
    value: Buffer.from(key),
  }));
  await storage.transaction([], seal);
  await guard.transaction([], [{ type: "put", key: "a", value: Buffer.from("1") }]);
  const onMoved = (): Promise<void> => Promise.resolve();
  const ports = { clock, logger: silentLogger, openTarget, onMoved };
  const mover = new StoreMover(storage, { type: "local" }, ports);
  return { mover, vault: { id: "v1", guard }, clock };
}

/** A store that does something before each transaction. */
function watched(inner: Storage, before: (writes: readonly Write[]) => Promise<unknown>): Storage {
  return {
    get: (key) => inner.get(key),
    list: (prefix, range) => inner.list(prefix, range),
    transaction: async (comparisons, writes) => {
      await before(writes);
      return inner.transaction(comparisons, writes);
    },
    watch: (...parameters) => inner.watch(...parameters),
    [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
  };
}

test("a store that does not answer is waited for; sealed meanwhile, the move has failed, and says why", async () => {
  const away = new RksError("UNREACHABLE", "nobody there");
  const { mover, vault, clock } = await aRig(() => Promise.reject(away));
  const stop = new AbortController();
  await mover.start(there, vault, stop);
  await clock.nextSleep();
  expect(mover.status).toMatchObject({ phase: "waiting", error: { code: "UNREACHABLE" } });
  stop.abort(sealed);
  await mover.idle();
  expect(mover.status).toMatchObject({
    phase: "failed",
    error: { code: "UNAVAILABLE", message: "the vault is being sealed" },
  });
  expect(await mover.alone(() => Promise.resolve("free"))).toBe("free");
});

test("a move that is cut off while it copies has failed, and says why; it can be begun again", async () => {
  const stop = new AbortController();
  const target = memoryStorage();
  const { mover, vault } = await aRig(() =>
    Promise.resolve({
      ...watched(target, (writes) => {
        if (writes.some(({ key }) => key === "barrier/a")) stop.abort(sealed);
        return Promise.resolve();
      }),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }),
  );
  await mover.start(there, vault, stop);
  await mover.idle();
  expect(mover.status).toMatchObject({ phase: "failed", error: { message: "the vault is being sealed" } });
  await mover.start(there, vault, new AbortController());
  await mover.idle();
  expect(mover.status).toMatchObject({ phase: "done", error: null });
  expect(mover.at).toBe(there);
});

test("cut off while it is in doubt where the vault is, a move has failed and says so; settled later, it is done", async () => {
  const stop = new AbortController();
  const target = memoryStorage();
  let isDown = false;
  const { mover, vault, clock } = await aRig(() =>
    Promise.resolve({
      ...watched(target, () => Promise.resolve()),
      transaction: async (...parameters: Parameters<Storage["transaction"]>) => {
        if (isDown) throw new Error("no answer");
        const result = await target.transaction(...parameters);
        isDown = parameters[1].some(({ key }) => key === "core/keyring");
        if (isDown) throw new Error("no answer");
        return result;
      },
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }),
  );
  await mover.start(there, vault, stop);
  while (!mover.isInDoubt) await clock.nextSleep();
  expect(mover.status).toMatchObject({ phase: "in doubt" });
  stop.abort(sealed);
  await mover.idle();
  expect(mover.isInDoubt).toBe(true);
  expect(mover.status).toMatchObject({
    phase: "failed",
    error: { message: "the vault is being sealed; whether it was moved is found out when it is unsealed" },
  });
  isDown = false;
  await mover.settle(new AbortController().signal);
  expect(mover.status).toMatchObject({ phase: "done", error: null });
});
