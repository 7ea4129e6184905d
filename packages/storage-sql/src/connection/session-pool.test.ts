import { RksError } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";

import { SessionPool } from "./session-pool.js";
import type { Session } from "./session.js";

class FakeSession implements Session {
  isOpen = true;
  query(): Promise<readonly unknown[]> {
    return Promise.resolve([]);
  }
  close(): void {
    this.isOpen = false;
  }
  abort(): void {
    this.isOpen = false;
  }
}

function poolOf(maxSessions: number): {
  pool: SessionPool;
  opened: FakeSession[];
  clock: FakeClock;
  fail(): void;
} {
  const opened: FakeSession[] = [];
  const clock = new FakeClock();
  let isFailing = false;
  const open = (): Promise<Session> => {
    if (isFailing) return Promise.reject(new RksError("UNREACHABLE", "away"));
    const session = new FakeSession();
    opened.push(session);
    return Promise.resolve(session);
  };
  const pool = new SessionPool({ maxSessions, waitMs: 2000 }, { clock, open });
  return { pool, opened, clock, fail: () => (isFailing = true) };
}

test("sessions are used again and never more than the limit", async () => {
  const { pool, opened } = poolOf(2);
  const [first, second] = [await pool.acquire(), await pool.acquire()];
  const third = pool.acquire();
  const fourth = pool.acquire();
  pool.release(second);
  expect(await third).toBe(second);
  pool.release(first);
  expect(await fourth).toBe(first);
  expect(opened).toHaveLength(2);
});

test("a session that ended is replaced, whether idle, given back or handed over", async () => {
  const { pool, opened } = poolOf(1);
  const first = await pool.acquire();
  pool.release(first);
  first.abort();
  const second = await pool.acquire();
  expect(second).not.toBe(first);
  const waiting = pool.acquire();
  second.abort();
  pool.release(second);
  const third = await waiting;
  const handed = pool.acquire();
  pool.release(third);
  third.abort();
  expect((await handed).isOpen).toBe(true);
  expect(opened).toHaveLength(4);
});

test("who waits in vain is told, and does not take what comes later", async () => {
  const { pool, clock } = poolOf(1);
  const only = await pool.acquire();
  const waiting = pool.acquire();
  await clock.nextSleep();
  clock.advance(2000);
  await expect(waiting).rejects.toMatchObject({ code: "TIMED_OUT" });
  pool.release(only);
  expect(await pool.acquire()).toBe(only);
});

test("when opening fails the next in line tries itself", async () => {
  const { pool, fail } = poolOf(1);
  const only = await pool.acquire();
  const waiting = pool.acquire();
  fail();
  only.abort();
  pool.release(only);
  await expect(waiting).rejects.toMatchObject({ code: "UNREACHABLE" });
});

test("a closed pool ends what is idle at once, what is lent when it comes back, and refuses the rest", async () => {
  const { pool } = poolOf(2);
  const [lent, idle] = [await pool.acquire(), await pool.acquire()];
  pool.release(idle);
  const another = await pool.acquire();
  const waiting = pool.acquire();
  pool.close();
  await expect(waiting).rejects.toMatchObject({ code: "UNAVAILABLE" });
  expect(lent.isOpen).toBe(true);
  pool.release(lent);
  pool.release(another);
  expect([lent.isOpen, another.isOpen]).toEqual([false, false]);
  await expect(pool.acquire()).rejects.toMatchObject({ code: "UNAVAILABLE" });
});

test("the queue is bounded", async () => {
  const { pool } = poolOf(1);
  await pool.acquire();
  const waiting = Array.from({ length: 8192 }, () => pool.acquire());
  await expect(pool.acquire()).rejects.toMatchObject({ code: "BUSY" });
  pool.close();
  await Promise.allSettled(waiting);
});
