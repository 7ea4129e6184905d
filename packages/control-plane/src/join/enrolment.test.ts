import { encodeBasicConstraints, parseCertificate } from "@rk8s/x509";
import { RksError } from "@rk8s/protocol";
import { describe, expect, test } from "vitest";
import { nodeRecords } from "../nodes/node-record.js";
import { aCsr, aKey, aRequest } from "./testing/a-request.js";
import { aJoinDesk, wireBytes } from "./testing/a-join-desk.js";

describe("a join", () => {
  test("ends with a certificate for the name, the node's record and a used token", async () => {
    const desk = await aJoinDesk();
    const answer = await desk.join({ token: await desk.token(), nodeName: "worker-1" });

    const leaf = parseCertificate(answer.leaf);
    expect(answer.nodeName).toBe("worker-1");
    expect(leaf.uris).toEqual(["spiffe://test.local/node/worker-1"]);
    expect(leaf.serialNumber).toBe(answer.serialNumber);
    const node = await nodeRecords(desk.storage).read("worker-1");
    expect(node?.record).toMatchObject({ name: "worker-1", serialNumber: answer.serialNumber, labels: {} });
    const [token] = await desk.tokens.list();
    expect(token).toMatchObject({ status: "used", usedCount: 1, usedBy: [{ node: "worker-1" }] });
  });

  test("takes the token's name, then the request's common name, when none is asked for", async () => {
    const desk = await aJoinDesk();
    const bound = await desk.join({ token: await desk.token({ node: "bound-1" }) });
    const key = aKey();
    const byHost = await desk.join({
      token: await desk.token(),
      csr: aCsr(key, { commonName: "host-7" }),
    });
    expect([bound.nodeName, byHost.nodeName]).toEqual(["bound-1", "host-7"]);
  });

  test.each([
    { name: "in capitals is taken in lower case", commonName: "Host-1", token: {}, given: "host-1" },
    {
      name: "beside a token for another name is ignored",
      commonName: "Host-1",
      token: { node: "bound" },
      given: "bound",
    },
    {
      name: "that no node may have is ignored beside the token's",
      commonName: "rks-cluster",
      token: { node: "bound" },
      given: "bound",
    },
    {
      name: "may be the name that is asked for, in any case",
      commonName: "Worker-1",
      token: {},
      nodeName: "worker-1",
      given: "worker-1",
    },
  ])("a CSR's common name $name", async ({ commonName, token, nodeName, given }) => {
    const desk = await aJoinDesk();
    const csr = aCsr(aKey(), { commonName });
    const name = nodeName === undefined ? {} : { nodeName };
    const answer = await desk.join({ token: await desk.token(token), csr, ...name });
    expect(answer.nodeName).toBe(given);
    expect(desk.audit.lines.filter(({ outcome }) => outcome === "refused")).toEqual([]);
  });

  test("writes intent and result to the audit log, without a secret", async () => {
    const desk = await aJoinDesk();
    const token = await desk.token();
    desk.audit.lines.length = 0;
    await desk.join({ token, nodeName: "worker-1" });
    expect(desk.audit.lines.map(({ type, operation, outcome }) => [type, operation, outcome])).toEqual([
      ["intent", "join", undefined],
      ["result", "join", "done"],
    ]);
    expect(JSON.stringify(desk.audit.lines)).not.toContain(token.slice(5, 80));
    expect(await desk.storage.dump()).not.toContain(token.slice(20, 80));
  });

  test("an operator gets ten minutes at most, any number of times, and no node record", async () => {
    const desk = await aJoinDesk();
    const token = await desk.token({ role: "operator", ttlSeconds: 700 });
    const first = await desk.join({ token, role: "operator" });
    desk.clock.advance(400_000);
    const second = await desk.join({ token, role: "operator" });
    expect(Date.parse(first.notAfter) - (desk.clock.now() - 400_000)).toBe(600_000);
    expect(Date.parse(second.notAfter) - desk.clock.now()).toBe(300_000);
    expect(parseCertificate(first.leaf).uris[0]).toMatch(/^spiffe:\/\/test\.local\/operator\/[0-9a-f]{16}$/);
    expect(await desk.nodeNames()).toEqual([]);
  });
});

describe("only one of many", () => {
  test("50 requests with one single-use token at the same instant: exactly one joins", async () => {
    const desk = await aJoinDesk();
    const token = await desk.token();
    const outcomes = await Promise.all(
      Array.from({ length: 50 }, (_, i) => desk.outcome(desk.join({ token, nodeName: `worker-${i}` }))),
    );
    expect(outcomes.filter((outcome) => outcome === "joined")).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === "JOIN_TOKEN_USED")).toHaveLength(49);
    expect(await desk.nodeNames()).toHaveLength(1);
  });

  test("two tokens for one name at the same instant: one joins, the other keeps its token", async () => {
    const desk = await aJoinDesk();
    const tokens = [await desk.token(), await desk.token()];
    const outcomes = await Promise.all(
      tokens.map((token) => desk.outcome(desk.join({ token, nodeName: "worker-1" }))),
    );
    expect(outcomes.toSorted()).toEqual(["NODE_NAME_TAKEN", "joined"]);
    expect((await desk.tokens.list()).map(({ status }) => status).toSorted()).toEqual(["usable", "used"]);
  });

  test("a token with three uses serves three of ten", async () => {
    const desk = await aJoinDesk();
    const token = await desk.token({ uses: 3 });
    const outcomes = await Promise.all(
      Array.from({ length: 10 }, (_, i) => desk.outcome(desk.join({ token, nodeName: `worker-${i}` }))),
    );
    expect(outcomes.filter((outcome) => outcome === "joined")).toHaveLength(3);
  });
});

describe("asking again", () => {
  test("the same key gets the same bytes, also after a restart and when the token is expired", async () => {
    const desk = await aJoinDesk();
    const key = aKey();
    const token = await desk.token({ ttlSeconds: 60 });
    const first = await desk.join({ token, key, nodeName: "worker-1" });
    desk.clock.advance(599_000);
    desk.restart();
    const again = await desk.join({ token, key, nodeName: "worker-1" });
    expect(wireBytes(again)).toBe(wireBytes(first));
    expect(desk.audit.lines.at(-1)).toMatchObject({ outcome: "done", fields: { repeated: true } });
  });

  test.each([
    { name: "another key", change: {}, code: "JOIN_TOKEN_USED" },
    { name: "another name", change: { sameKey: true, nodeName: "worker-2" }, code: "JOIN_TOKEN_USED" },
    { name: "after ten minutes", change: { sameKey: true, waitMs: 600_000 }, code: "JOIN_TOKEN_EXPIRED" },
    { name: "after a revocation", change: { sameKey: true, revoke: true }, code: "JOIN_TOKEN_REVOKED" },
    { name: "after an eviction", change: { sameKey: true, evict: true }, code: "JOIN_TOKEN_USED" },
  ] satisfies { name: string; change: Change; code: string }[])(
    "is refused with $name, and the refusal is recorded",
    async ({ change, code }: { change: Change; code: string }) => {
      const desk = await aJoinDesk();
      const key = aKey();
      const token = await desk.token({ ttlSeconds: 600 });
      await desk.join({ token, key, nodeName: "worker-1" });
      desk.clock.advance(change.waitMs ?? 0);
      const [summary] = await desk.tokens.list();
      if (change.revoke === true) await desk.tokens.revoke(summary!.id, { actor: "test" });
      if (change.evict === true) {
        await desk.storage.transaction([], [nodeRecords(desk.storage).delete("worker-1")]);
      }
      const nodeName = change.nodeName ?? "worker-1";
      const again = desk.join({ token, key: change.sameKey === true ? key : aKey(), nodeName });
      expect(await desk.outcome(again)).toBe(code);
      expect(desk.audit.lines.at(-1)).toMatchObject({ type: "result", outcome: "refused" });
    },
  );

  test("tells the holder of a used token when and by which node it was used", async () => {
    const desk = await aJoinDesk();
    const token = await desk.token();
    await desk.join({ token, nodeName: "worker-1" });
    const at = new Date(desk.clock.now()).toISOString();
    const refusal = desk.join({ token, nodeName: "worker-2" });
    await expect(refusal).rejects.toThrow(`node "worker-1" at ${at}`);
    await expect(refusal).rejects.toMatchObject({
      suggestion: expect.stringContaining("rks node rejoin worker-1") as string,
    });
  });

  test("a key serves one name of a token with several uses", async () => {
    const desk = await aJoinDesk();
    const key = aKey();
    const token = await desk.token({ uses: 2 });
    await desk.join({ token, key, nodeName: "worker-1" });
    expect(await desk.outcome(desk.join({ token, key, nodeName: "worker-2" }))).toBe("ALREADY_EXISTS");
  });

  test("answers are forgotten when they are no longer repeated", async () => {
    const desk = await aJoinDesk();
    await desk.join({ token: await desk.token(), nodeName: "worker-1" });
    expect(await desk.enrolment.tidy()).toBe(0);
    desk.clock.advance(600_000);
    expect(await desk.enrolment.tidy()).toBe(1);
  });
});

interface Change {
  sameKey?: boolean;
  nodeName?: string;
  waitMs?: number;
  revoke?: boolean;
  evict?: boolean;
}

describe("bad agents", () => {
  test.each([
    { name: "a proof by another token's key", spoil: "proof" },
    { name: "an unknown token id", spoil: "id" },
    { name: "another connection's Welcome", spoil: "welcome" },
    { name: "another connection's server key", spoil: "leaf" },
    { name: "another Hello", spoil: "hello" },
    { name: "another name than was signed", spoil: "name" },
    { name: "another role than was signed", spoil: "role" },
    { name: "another CSR than was signed", spoil: "csr" },
  ])("$name gives JOIN_TOKEN_INVALID, leaves no trace and consumes nothing", async ({ spoil }) => {
    const desk = await aJoinDesk();
    const token = await desk.token();
    const lines = desk.audit.lines.length;
    const good = aRequest({ token, nodeName: "worker-1" });
    const other = aRequest({ token: await desk.token(), nodeName: "worker-1" });
    const bad = {
      proof: { ...good, message: { ...good.message, proof: other.message.proof } },
      id: { ...good, message: { ...good.message, tokenId: "0123456789abcdef" } },
      welcome: { ...good, welcome: other.welcome },
      leaf: { ...good, serverLeafSpki: other.serverLeafSpki },
      hello: { ...good, hello: other.hello },
      name: { ...good, message: { ...good.message, nodeName: "worker-2" } },
      role: { ...good, message: { ...good.message, role: "operator" as const } },
      csr: { ...good, message: { ...good.message, csr: other.message.csr } },
    }[spoil]!;
    const refusal = desk.enrolment.sign(bad);
    await expect(refusal).rejects.toMatchObject({ code: "JOIN_TOKEN_INVALID" });
    await expect(refusal).rejects.toThrow(`join token "${bad.message.tokenId}" is not valid`);
    expect(desk.audit.lines.slice(lines).filter(({ operation }) => operation === "join")).toEqual([]);
    expect(await desk.outcome(good)).toBe("joined");
  });

  test.each([
    { name: "a name that is reserved", request: { nodeName: "rks-1" }, code: "NODE_NAME_INVALID" },
    { name: "a name in capitals", request: { nodeName: "Worker" }, code: "NODE_NAME_INVALID" },
    { name: "no name at all", request: {}, code: "NODE_NAME_INVALID" },
    { name: "the operator's role", request: { role: "operator" as const }, code: "JOIN_TOKEN_SCOPE" },
    {
      name: "another node's token",
      token: { node: "other" },
      request: { nodeName: "worker-1" },
      code: "JOIN_TOKEN_SCOPE",
    },
    {
      name: "an address outside the token's network",
      token: { cidr: "10.0.0.0/8" },
      request: { nodeName: "worker-1", remoteHost: "192.0.2.1" },
      code: "JOIN_TOKEN_SCOPE",
    },
  ])("$name is refused, recorded, and consumes nothing", async ({ token: tokenRequest, request, code }) => {
    const desk = await aJoinDesk();
    const token = await desk.token(tokenRequest ?? {});
    expect(await desk.outcome(desk.join({ token, ...request }))).toBe(code);
    expect(desk.audit.lines.at(-1)).toMatchObject({ operation: "join", outcome: "refused", code });
    expect((await desk.tokens.list())[0]?.status).toBe("usable");
    expect(await desk.nodeNames()).toEqual([]);
  });

  test.each([
    { name: "signed by another key", csr: () => aCsr(aKey(), { signedBy: aKey() }), code: "CSR_INVALID" },
    { name: "with RSA of 1024 bits", csr: () => aCsr(aKey({ rsaBits: 1024 })), code: "KEY_TOO_WEAK" },
    {
      name: "that asks for CA:TRUE",
      csr: () =>
        aCsr(aKey(), { extensions: [encodeBasicConstraints({ isCa: true, pathLength: undefined })] }),
      code: "CSR_INVALID",
    },
    {
      name: "for another name than is asked for",
      csr: () => aCsr(aKey(), { commonName: "worker-2" }),
      code: "CSR_INVALID",
    },
    { name: "that is no CSR", csr: () => new Uint8Array([0x30, 3, 2, 1, 0]), code: "CSR_INVALID" },
  ])("a CSR $name is refused and consumes nothing", async ({ csr, code }) => {
    const desk = await aJoinDesk();
    const token = await desk.token();
    expect(await desk.outcome(desk.join({ token, csr: csr(), nodeName: "worker-1" }))).toBe(code);
    expect(await desk.outcome(desk.join({ token, nodeName: "worker-1" }))).toBe("joined");
  });

  test("a bad CSR is told before an expired token", async () => {
    const desk = await aJoinDesk();
    const token = await desk.token({ ttlSeconds: 1 });
    desk.clock.advance(1000);
    const csr = aCsr(aKey(), { signedBy: aKey() });
    expect(await desk.outcome(desk.join({ token, csr, nodeName: "worker-1" }))).toBe("CSR_INVALID");
    expect(await desk.outcome(desk.join({ token, nodeName: "worker-1" }))).toBe("JOIN_TOKEN_EXPIRED");
  });

  test("a known name with another key is refused with the way back, and the token stays", async () => {
    const desk = await aJoinDesk();
    await desk.join({ token: await desk.token(), nodeName: "worker-1" });
    const token = await desk.token();
    await expect(desk.join({ token, nodeName: "worker-1" })).rejects.toMatchObject({
      code: "NODE_NAME_TAKEN",
      suggestion: expect.stringContaining("rks node rejoin worker-1") as string,
    });
    expect(await desk.outcome(desk.join({ token, nodeName: "worker-2" }))).toBe("joined");
  });

  test("a flood of unknown tokens is answered with BUSY and stops nobody who holds one", async () => {
    const desk = await aJoinDesk();
    const good = aRequest({ token: await desk.token(), nodeName: "worker-1" });
    const bad = { ...good, message: { ...good.message, tokenId: "0123456789abcdef" } };
    const outcomes = await Promise.all(Array.from({ length: 600 }, () => desk.outcome(bad)));
    expect(outcomes.filter((outcome) => outcome === "BUSY")).toHaveLength(100);
    expect(await desk.outcome(good)).toBe("joined");
  });

  test("a flood of bad proofs for a token does not count against the token", async () => {
    const desk = await aJoinDesk();
    const good = aRequest({ token: await desk.token(), nodeName: "worker-1" });
    const bad = { ...good, welcome: new Uint8Array(48) };
    for (let i = 0; i < 600; i++) expect(await desk.outcome(bad)).toBe("JOIN_TOKEN_INVALID");
    expect(await desk.outcome(good)).toBe("joined");
  });
});

describe("what fails consumes nothing", () => {
  test.each(["STORAGE_FULL", "STORAGE_UNWRITABLE"] as const)("%s is retryable", async (code) => {
    const desk = await aJoinDesk();
    const token = await desk.token();
    const key = aKey();
    desk.storage.fault = new RksError(code, "the test filled the disk");
    const refusal = desk.join({ token, key, nodeName: "worker-1" });
    await expect(refusal).rejects.toMatchObject({ code, retryable: true });
    expect(desk.audit.lines.at(-1)).toMatchObject({ outcome: "failed", code });
    desk.storage.fault = undefined;
    expect(await desk.nodeNames()).toEqual([]);
    expect(await desk.outcome(desk.join({ token, key, nodeName: "worker-1" }))).toBe("joined");
  });

  test("without an audit log nothing is issued", async () => {
    const desk = await aJoinDesk();
    const token = await desk.token();
    const { transactions } = desk.storage;
    desk.audit.broken = "intents";
    expect(await desk.outcome(desk.join({ token, nodeName: "worker-1" }))).toBe("AUDIT_UNWRITABLE");
    expect(desk.storage.transactions).toBe(transactions);
    expect(await desk.nodeNames()).toEqual([]);
  });

  test("a result that cannot be recorded withholds the answer; asking again gives it", async () => {
    const desk = await aJoinDesk();
    const token = await desk.token();
    const key = aKey();
    desk.audit.broken = "results";
    expect(await desk.outcome(desk.join({ token, key, nodeName: "worker-1" }))).toBe("AUDIT_UNWRITABLE");
    expect(await desk.outcome(desk.join({ token, key, nodeName: "worker-1" }))).toBe("AUDIT_UNWRITABLE");
    desk.audit.broken = "nothing";
    expect(await desk.outcome(desk.join({ token, key, nodeName: "worker-1" }))).toBe("joined");
    expect(await desk.nodeNames()).toEqual(["worker-1"]);
  });
});

describe("coming back", () => {
  test("a rejoin token brings the node back under a new key and ends the old one", async () => {
    const desk = await aJoinDesk();
    await desk.join({ token: await desk.token(), nodeName: "worker-1" });
    const { record: before } = (await nodeRecords(desk.storage).read("worker-1"))!;
    const { token } = await desk.tokens.createRejoin(before, { actor: "test" });
    const answer = await desk.join({ token: token.reveal() });
    const { record: after } = (await nodeRecords(desk.storage).read("worker-1"))!;
    expect(after).toMatchObject({
      uid: before.uid,
      joinedAt: before.joinedAt,
      serialNumber: answer.serialNumber,
    });
    expect(after.serialNumber).not.toBe(before.serialNumber);
    expect(desk.replaced).toEqual(["worker-1"]);
  });

  test("a rejoin token is not good for a node of the same name that joined afresh", async () => {
    const desk = await aJoinDesk();
    await desk.join({ token: await desk.token(), nodeName: "worker-1" });
    const { record } = (await nodeRecords(desk.storage).read("worker-1"))!;
    const { token } = await desk.tokens.createRejoin(record, { actor: "test" });
    await desk.storage.transaction([], [nodeRecords(desk.storage).delete("worker-1")]);
    await desk.join({ token: await desk.token(), nodeName: "worker-1" });
    expect(await desk.outcome(desk.join({ token: token.reveal() }))).toBe("JOIN_TOKEN_SCOPE");
  });

  test("a banned node is refused whatever token it holds", async () => {
    const desk = await aJoinDesk();
    const key = aKey();
    const first = await desk.token();
    await desk.join({ token: first, key, nodeName: "worker-1" });
    const nodes = nodeRecords(desk.storage);
    const { record } = (await nodes.read("worker-1"))!;
    await desk.storage.transaction([], [nodes.put("worker-1", { ...record, banned: "test" })]);
    expect(await desk.outcome(desk.join({ token: first, key, nodeName: "worker-1" }))).toBe("NODE_BANNED");
    expect(await desk.outcome(desk.join({ token: await desk.token(), nodeName: "worker-1" }))).toBe(
      "NODE_BANNED",
    );
  });
});

describe("further checks", () => {
  test("see the name that the node will have, and their refusal consumes nothing", async () => {
    const seen: string[] = [];
    const desk = await aJoinDesk({
      joinChecks: [
        {
          name: "machine id",
          check({ nodeName }) {
            seen.push(nodeName);
            if (nodeName !== "worker-2") throw new RksError("PERMISSION_DENIED", "not this machine");
          },
        },
      ],
    });
    const token = await desk.token();
    expect(await desk.outcome(desk.join({ token, nodeName: "worker-1" }))).toBe("PERMISSION_DENIED");
    expect(await desk.outcome(desk.join({ token, nodeName: "worker-2" }))).toBe("joined");
    expect(seen).toEqual(["worker-1", "worker-2"]);
    expect(desk.audit.lines.find(({ outcome }) => outcome === "refused")?.message).toBe(
      'join check "machine id": not this machine',
    );
  });

  test("a check that fails refuses for now, and says nothing of why", async () => {
    const desk = await aJoinDesk({
      joinChecks: [
        {
          name: "web hook",
          check() {
            throw new TypeError("secret of the web hook");
          },
        },
      ],
    });
    const refusal = desk.join({ token: await desk.token(), nodeName: "worker-1" });
    await expect(refusal).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: 'join check "web hook" failed',
    });
    expect((await desk.tokens.list())[0]?.status).toBe("usable");
  });

  test("a check that does not answer is given up", async () => {
    const desk = await aJoinDesk({
      joinChecks: [{ name: "slow", check: () => new Promise(() => undefined) }],
    });
    const outcome = desk.outcome(desk.join({ token: await desk.token(), nodeName: "worker-1" }));
    desk.clock.advance(await desk.clock.nextSleep());
    expect(await outcome).toBe("TIMED_OUT");
  });
});

describe("checking only", () => {
  test("says what a join would be told, and uses up nothing", async () => {
    const desk = await aJoinDesk();
    const token = await desk.token();
    const key = aKey();
    await desk.enrolment.check(aRequest({ token, key, nodeName: "worker-1" }));
    expect(await desk.nodeNames()).toEqual([]);
    expect((await desk.tokens.list()).map(({ status }) => status)).toEqual(["usable"]);
    await desk.join({ token, key, nodeName: "worker-1" });
    await desk.enrolment.check(aRequest({ token, key, nodeName: "worker-1" }));
    const other = desk.enrolment.check(aRequest({ token, nodeName: "worker-1" }));
    expect(await desk.outcome(other)).toBe("JOIN_TOKEN_USED");
    expect(desk.audit.lines.at(-1)).toMatchObject({ operation: "join", outcome: "refused" });
  });
});
