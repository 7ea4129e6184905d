import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { IncomingMessage } from "node:http";
import { expect, test } from "vitest";
import type { MoveStatus } from "../migration/store-mover.js";
import { serveSocket } from "./socket-server.js";
import { anApi, listenerPorts } from "./testing/an-api.js";

const MOVE: MoveStatus = {
  phase: "done",
  from: "a",
  to: "b",
  startedAt: "2026-11-22T00:00:00.000Z",
  entries: 0,
  parts: 0,
  verified: 0,
  error: null,
  digest: null,
  pausedMs: null,
};

test.each([
  { phase: "copying", status: 200, says: "ok" },
  { phase: "done", status: 200, says: "ok" },
  { phase: "waiting", status: 200, says: "degraded" },
  { phase: "failed", status: 200, says: "degraded" },
  { phase: "in doubt", status: 503, says: "in doubt" },
] as const)("a store whose move is $phase makes readiness say $says", async ({ phase, status, says }) => {
  const answer = await readyz({
    storeStatus: () => ({
      type: "local",
      store: "a",
      members: [],
      epoch: 0,
      restoredFrom: null,
      gaveUp: null,
      movedTo: null,
      migration: { ...MOVE, phase },
    }),
  });
  expect(answer.status).toBe(status);
  expect(answer.body).toContain(says);
});

test("a vault that was moved away from under this rks makes readiness say so, and 503", async () => {
  const api = anApi({});
  const storeStatus = (): ReturnType<typeof api.storeStatus> => ({ ...api.storeStatus(), movedTo: "there" });
  const { status, body } = await readyz({ storeStatus });
  expect([status, JSON.parse(body)]).toEqual([
    503,
    { status: "sealed: the vault was moved to another store" },
  ]);
});

test("a store that does not answer makes readiness say degraded, and 503", async () => {
  const { status, body } = await readyz({ isCutOff: true });
  expect(status).toBe(503);
  expect(JSON.parse(body)).toEqual({ status: "degraded: the store does not answer" });
});

async function readyz(answers: Parameters<typeof anApi>[0]): Promise<{ status: number; body: string }> {
  const folder = await mkdtemp(join(tmpdir(), "rks-ready-"));
  const path = join(folder, "s");
  const api = anApi(answers);
  try {
    await using _ = await serveSocket({ path, routes: [], api, drainMs: 100 }, listenerPorts());
    const asked = request({ socketPath: path, path: "/readyz", agent: false }).end();
    const [answer] = (await once(asked, "response")) as [IncomingMessage];
    let body = "";
    for await (const chunk of answer.setEncoding("utf8")) body += String(chunk);
    return { status: answer.statusCode ?? 0, body };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
