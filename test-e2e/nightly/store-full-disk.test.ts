import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@rk8s/host";
import { RksError, silentLogger } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { openEtcdStorage } from "@rk8s/storage/etcd";
import { EtcdCluster } from "@rk8s/storage/testing/etcd";
import { openSqlStorage } from "@rk8s/storage-sql";
import { type SqlServerKind, startSqlServer } from "@rk8s/storage-sql/testing";
import { expect, test, vi } from "vitest";
import { eventually } from "../src/harness/eventually.js";
import { suiteThatNeeds } from "../src/harness/needs.js";
import { SmallDisk } from "../src/harness/small-disk.js";

const DISK_BYTES = 512 * 1024 * 1024;
const VALUE = new Uint8Array(500_000).fill(7);
/** More than any of them has room for in the files that it allocated before. */
const WRITES = 600;
const CODES = [
  ...["STORAGE_FULL", "STORAGE_UNWRITABLE"],
  ...["UNREACHABLE", "UNAVAILABLE", "CONNECTION_LOST", "TIMED_OUT"],
];

/** A database server whose files are on the disk that `TMPDIR` names. */
interface Store extends AsyncDisposable {
  readonly address: string;
  open(): Promise<Storage>;
  /** As its service manager would, once there is space again. */
  restart(): Promise<void>;
}

/** A store on a disk of its own. */
async function onSmallDisk(
  start: () => Promise<Store>,
  story: (store: Store, disk: SmallDisk) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "rk8s-e2e-"));
  const disk = await SmallDisk.mount(folder, "tmpfs", DISK_BYTES);
  // The databases run as users of their own.
  for (const path of [folder, disk.path]) await chmod(path, 0o755);
  vi.stubEnv("TMPDIR", disk.path);
  try {
    await using store = await start();
    await story(store, disk);
  } finally {
    vi.unstubAllEnvs();
    await disk[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Write until the disk is full, and again when there is space: what was acknowledged is there, what was refused is not. */
async function fillUp(store: Store, disk: SmallDisk): Promise<void> {
  await using storage = await store.open();
  const put = async (key: string): Promise<void> => {
    await storage.transaction([{ key, modRevision: 0 }], [{ type: "put", key, value: VALUE }]);
  };
  await put("before");
  await disk.fill();
  const acknowledged = ["before"];
  let refusal: RksError | undefined;
  for (let i = 0; i < WRITES && refusal === undefined; i++) {
    try {
      await put(`during-${i}`);
      acknowledged.push(`during-${i}`);
    } catch (reason) {
      refusal = RksError.from(reason);
    }
  }
  process.stdout.write(
    `${store.address}: ${acknowledged.length} writes, then ${refusal?.code}: ${refusal?.message}\n`,
  );
  expect(CODES).toContain(refusal?.code);
  expect(refusal?.message).toContain(store.address);
  expect(refusal?.suggestion).toEqual(expect.any(String));

  await disk.free();
  await store.restart();
  await eventually(
    async () =>
      put("after").then(
        () => true,
        () => false,
      ),
    (isDone) => isDone,
  );
  for (const key of [...acknowledged, "after"]) {
    const entry = await storage.get(key);
    expect({ key, bytes: entry?.value.length }).toEqual({ key, bytes: VALUE.length });
  }
  // Of a connection that was lost nobody knows what became of the last request.
  const isKnown = refusal?.code === "STORAGE_FULL";
  const refused = isKnown ? await storage.get(`during-${acknowledged.length - 1}`) : undefined;
  expect(refused).toBeUndefined();
}

async function etcd(): Promise<Store> {
  const cluster = await EtcdCluster.start({ tls: false });
  const [endpoint = ""] = cluster.endpoints;
  const [member] = cluster.members;
  return {
    address: endpoint,
    open: async () => openEtcdStorage({ endpoints: [endpoint], prefix: "full", clock: systemClock }),
    async restart() {
      await member!.kill();
      member!.start();
      await member!.healthy(30_000);
    },
    [Symbol.asyncDispose]: async () => cluster[Symbol.asyncDispose](),
  };
}

const sql = (kind: SqlServerKind) => async (): Promise<Store> => {
  const server = await startSqlServer(kind);
  const url = await server.newDatabase();
  return {
    address: `127.0.0.1:${server.port}`,
    open: async () => openSqlStorage({ url, clock: systemClock, logger: silentLogger }),
    async restart() {
      await server.kill();
      await server.restart();
    },
    [Symbol.asyncDispose]: async () => server[Symbol.asyncDispose](),
  };
};

suiteThatNeeds(["linux", "root", "etcd", "postgres", "mariadb"], "a store whose disk is full", () => {
  test.each([
    ["etcd", etcd],
    ["PostgreSQL", sql("postgres")],
    ["MariaDB", sql("mariadb")],
  ] as const)(
    "%s: writes are refused with its address and a remedy; what was acknowledged is there when there is space again",
    async (_name, start) => onSmallDisk(start, fillUp),
    180_000,
  );
});
