import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { openLmdbStorage } from "./lmdb-storage.js";
import type { Write } from "../storage.js";

const mayMount = process.platform === "linux" && process.getuid?.() === 0 && tryMount();

describe.skipIf(!mayMount)("on a disk of 2 MiB (needs root)", () => {
  let mountPoint: string;
  beforeAll(() => {
    mountPoint = mount("size=2m");
  });
  afterAll(() => {
    unmount(mountPoint);
  });

  test("a full disk refuses, keeps what is there and serves again after a delete", async () => {
    await using storage = await openLmdbStorage({ folder: join(mountPoint, "a") });
    let stored = 0;
    const fill = async (): Promise<void> => {
      for (; stored < 40; stored += 1) await storage.transaction([], [blob(`blob/${stored}`, 70_000)]);
    };
    const failure = await fill().catch((reason: unknown) => reason);
    expect(failure).toMatchObject({ code: "STORAGE_FULL", retryable: true });
    const { entries, revision } = await storage.list("");
    expect(entries).toHaveLength(stored);
    expect(revision).toBe(stored);

    await storage.transaction(
      [],
      [
        { type: "delete", key: "blob/0" },
        { type: "delete", key: "blob/1" },
      ],
    );
    expect((await storage.transaction([], [blob("small", 10)])).succeeded).toBe(true);

    const alone = await Promise.allSettled([
      storage.transaction([], [blob("x", 1)]),
      storage.transaction([], [blob("huge", 1_400_000)]),
      storage.transaction([{ key: "x", modRevision: 0 }], [blob("never", 1)]),
      storage.transaction([], [blob("y", 1)]),
    ]);
    expect(
      alone.map((result) => (result.status === "fulfilled" ? result.value.succeeded : "refused")),
    ).toEqual([true, "refused", false, true]);
    expect(await storage.get("huge")).toBeUndefined();
  });

  test("a disk without room for a new store is refused when it is opened", async () => {
    shell('cat /dev/zero > "$1/fill" 2>/dev/null || true', mountPoint);
    await expect(openLmdbStorage({ folder: join(mountPoint, "b") })).rejects.toMatchObject({
      code: "STORAGE_FULL",
    });
  });
});

describe.skipIf(!mayMount)("on a disk that is mounted read-only (needs root)", () => {
  test("opening is refused", async () => {
    const mountPoint = mount("size=1m,ro");
    try {
      await expect(openLmdbStorage({ folder: join(mountPoint, "a") })).rejects.toMatchObject({
        code: "STORAGE_UNWRITABLE",
      });
    } finally {
      unmount(mountPoint);
    }
  });
});

function blob(key: string, bytes: number): Write {
  return { type: "put", key, value: new Uint8Array(bytes) };
}

function mount(options: string): string {
  const mountPoint = mkdtempSync(join(tmpdir(), "rks-disk-"));
  shell('mount -t tmpfs -o "$1" tmpfs "$2"', options, mountPoint);
  return mountPoint;
}

function unmount(mountPoint: string): void {
  shell('umount -l "$1"', mountPoint);
  rmSync(mountPoint, { recursive: true });
}

function shell(command: string, ...args: readonly string[]): void {
  execFileSync("sh", ["-c", command, "sh", ...args], { stdio: "ignore" });
}

/** Root inside a container is often not allowed to mount. */
function tryMount(): boolean {
  try {
    unmount(mount("size=1m"));
    return true;
  } catch {
    return false;
  }
}
