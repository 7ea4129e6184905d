import { hex, parseJoinToken } from "@rk8s/protocol";
import { describe, expect, test } from "vitest";
import { aKey } from "./testing/a-request.js";
import { aJoinDesk } from "./testing/a-join-desk.js";

const actor = { actor: "test" };

describe("create", () => {
  test("gives a token that pins the root, and keeps only its public half", async () => {
    const desk = await aJoinDesk();
    const { token, ...shown } = await desk.tokens.create({ node: "worker-1", cidr: "10.1.2.3/8" }, actor);
    const parsed = parseJoinToken(token.reveal());
    expect(parsed.id).toBe(shown.id);
    expect(hex(parsed.rootSpkiSha256)).toBe(hex(desk.ca.rootSpkiSha256));
    expect(shown).toMatchObject({ uses: 1, node: "worker-1", cidr: "10.0.0.0/8", role: "node" });
    expect(Date.parse(shown.expiresAt) - desk.clock.now()).toBe(600_000);
    const kept = (await desk.storage.dump()) + JSON.stringify([await desk.tokens.list(), desk.audit.lines]);
    expect(kept).not.toContain(hex(parsed.seed.reveal()));
    expect(kept).not.toContain(Buffer.from(parsed.seed.reveal()).toString("latin1"));
    expect(JSON.stringify({ token })).toBe('{"token":"[redacted]"}');
  });

  test("operator tokens live 8 hours and have no number of uses", async () => {
    const desk = await aJoinDesk();
    const created = await desk.tokens.create({ role: "operator" }, actor);
    expect(created.uses).toBeNull();
    expect(Date.parse(created.expiresAt) - desk.clock.now()).toBe(28_800_000);
  });

  test.each([
    { name: "no time", request: { ttlSeconds: 0 }, code: "INPUT_INVALID" },
    { name: "more than a day", request: { ttlSeconds: 86_401 }, code: "INPUT_INVALID" },
    { name: "a time that is no number", request: { ttlSeconds: Number.NaN }, code: "INPUT_INVALID" },
    { name: "no uses", request: { uses: 0 }, code: "INPUT_INVALID" },
    { name: "half a use", request: { uses: 1.5 }, code: "INPUT_INVALID" },
    { name: "too many uses", request: { uses: 1001 }, code: "INPUT_INVALID" },
    { name: "a bad network", request: { cidr: "10.0.0.0/99" }, code: "INPUT_INVALID" },
    { name: "a reserved name", request: { node: "rks" }, code: "NODE_NAME_INVALID" },
    { name: "an operator with uses", request: { role: "operator" as const, uses: 2 }, code: "INPUT_INVALID" },
  ])("refuses $name and writes nothing", async ({ request, code }) => {
    const desk = await aJoinDesk();
    const { transactions } = desk.storage;
    expect(await desk.outcome(desk.tokens.create(request, actor))).toBe(code);
    expect(desk.storage.transactions).toBe(transactions);
    expect(desk.audit.lines).toEqual([]);
  });

  test("makes nothing when the audit log cannot be written", async () => {
    const desk = await aJoinDesk();
    desk.audit.broken = "intents";
    expect(await desk.outcome(desk.tokens.create({}, actor))).toBe("AUDIT_UNWRITABLE");
    expect(await desk.tokens.list()).toEqual([]);
  });
});

describe("revoke", () => {
  test("refuses the token from now on, and may be done twice", async () => {
    const desk = await aJoinDesk();
    const token = await desk.token();
    const { id } = parseJoinToken(token);
    expect(await desk.tokens.revoke(id, actor)).toMatchObject({ status: "revoked" });
    expect(await desk.tokens.revoke(id, actor)).toMatchObject({ status: "revoked" });
    expect(await desk.outcome(desk.join({ token, nodeName: "worker-1" }))).toBe("JOIN_TOKEN_REVOKED");
  });

  test("at the same instant as a join, exactly one of both orders comes out", async () => {
    const desk = await aJoinDesk();
    const token = await desk.token();
    const join = desk.outcome(desk.join({ token, nodeName: "worker-1" }));
    await desk.tokens.revoke(parseJoinToken(token).id, actor);
    const outcome = await join;
    expect(["joined", "JOIN_TOKEN_REVOKED"]).toContain(outcome);
    expect(await desk.nodeNames()).toHaveLength(outcome === "joined" ? 1 : 0);
    expect((await desk.tokens.list())[0]?.status).toBe("revoked");
  });

  test.each(["0123456789abcdef", "", "../nodes/worker-1", "x".repeat(20)])("does not know %j", async (id) => {
    const desk = await aJoinDesk();
    expect(await desk.outcome(desk.tokens.revoke(id, actor))).toBe("NOT_FOUND");
  });
});

describe("tidy", () => {
  test("keeps spent tokens for 30 days, so that they can still be asked about", async () => {
    const desk = await aJoinDesk();
    const used = await desk.token();
    await desk.join({ token: used, key: aKey(), nodeName: "worker-1" });
    await desk.token();
    desk.clock.advance(30 * 86_400_000 - 1);
    expect(await desk.tokens.tidy()).toBe(0);
    desk.clock.advance(1);
    expect(await desk.tokens.tidy()).toBe(1);
    desk.clock.advance(600_000);
    expect(await desk.tokens.tidy()).toBe(1);
    expect(await desk.tokens.list()).toEqual([]);
  });
});
