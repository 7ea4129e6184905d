import { hostname } from "node:os";
import { decodePem, encodePem, OID } from "@rk8s/x509";
import { FakeClock } from "@rk8s/protocol/testing";
import { parseJoinToken, RksError, type ErrorCode, type RksMessage } from "@rk8s/protocol";
import { expect, test } from "vitest";
import { createCertificateRequest } from "../identity/csr.js";
import { KeyPair } from "../identity/key-pair.js";
import { FakeRks, refusal, type FakeAnswer, type FakeRksInit } from "../testing/fake-rks.js";
import { spkiOf, TestCa } from "../testing/test-ca.js";
import { RksAddresses } from "./rks-addresses.js";
import { requestCertificate, type RequestCertificateOptions } from "./request-certificate.js";

/** Never rejects: what was thrown, or undefined. */
async function thrown(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
    return undefined;
  } catch (error) {
    return error;
  }
}

async function codeOf(work: Promise<unknown>): Promise<ErrorCode | undefined> {
  const error = await thrown(work);
  return error === undefined ? undefined : RksError.from(error).code;
}

async function setUp(init: Partial<FakeRksInit> = {}) {
  const clock = new FakeClock();
  const rks = await FakeRks.start({ clock, ...init });
  const ask = async (options: Partial<RequestCertificateOptions> = {}) =>
    requestCertificate({
      rksAddress: rks.address,
      joinToken: rks.joinToken,
      nodeName: "worker-1",
      rootCertificates: [rks.ca.root],
      transport: rks.transport,
      clock,
      random: () => 0.5,
      ...options,
    });
  return { clock, rks, ask };
}

test("a token becomes a certificate for our key", async () => {
  const { ask, clock } = await setUp();
  using identity = await ask();
  expect(identity.nodeName).toBe("worker-1");
  expect(identity.notAfter.getTime()).toBe(clock.now() + 3_600_000);
  expect(identity.certificateChain).toHaveLength(1);
  const { privateKey } = identity.credentials();
  expect(Buffer.from(spkiOf(privateKey))).toEqual(Buffer.from(identity.spki));
});

test.each(["P-256", "Ed25519"] as const)("a key pair of the caller's, %s, is used", async (algorithm) => {
  const { ask } = await setUp();
  const keyPair = KeyPair.create(algorithm);
  using identity = await ask({ keyPair });
  expect(identity.spki).toBe(keyPair.spki);
});

test("a request of the caller's is sent as it is", async () => {
  const { ask, rks } = await setUp();
  const keyPair = KeyPair.create();
  const csr = createCertificateRequest(keyPair, { commonName: "mine" });
  using identity = await ask({ keyPair, csr });
  expect(identity.nodeName).toBe("worker-1");
  expect(rks.requests.find(({ type }) => type === "CertificateSign")).toMatchObject({ csr });
});

test("a request for another key than the key pair's is refused before anything is sent", async () => {
  const { ask, rks } = await setUp();
  const csr = createCertificateRequest(KeyPair.create());
  expect(await codeOf(ask({ keyPair: KeyPair.create(), csr }))).toBe("CSR_INVALID");
  expect(rks.requests).toEqual([]);
});

test("without a root certificate the one that the token pins is fetched and trusted", async () => {
  const { ask, rks } = await setUp();
  using identity = await ask({ rootCertificates: undefined });
  expect(identity.trustBundle).toEqual([rks.ca.root]);
});

test("a root certificate may come as PEM text with others around it", async () => {
  const { ask, rks, clock } = await setUp();
  const other = new TestCa({ nowMs: clock.now(), commonName: "other" });
  const pem = `old:\n${encodePem("CERTIFICATE", other.root)}new:\n${encodePem("CERTIFICATE", rks.ca.root)}`;
  expect(decodePem(pem)).toHaveLength(2);
  using identity = await ask({ rootCertificates: pem });
  expect(identity.nodeName).toBe("worker-1");
});

test("a root certificate that the token does not pin is final, and nothing is sent", async () => {
  const { ask, rks, clock } = await setUp();
  const other = new TestCa({ nowMs: clock.now() });
  expect(await codeOf(ask({ rootCertificates: [other.root] }))).toBe("CA_PIN_MISMATCH");
  expect(rks.connections).toEqual([]);
});

test("by pin alone, a server of another cluster is final", async () => {
  const { ask, clock } = await setUp();
  const joinToken = new TestCa({ nowMs: clock.now() }).joinToken().text;
  expect(await codeOf(ask({ rootCertificates: undefined, joinToken }))).toBe("CA_PIN_MISMATCH");
});

test.each([
  { name: "is no authority's", init: { isCa: false }, code: "SERVER_UNTRUSTED" },
  { name: "has expired by this clock", init: { lifetimeMs: 1000 }, code: "CLOCK_SKEW" },
])("by pin alone, a pinned certificate that $name is not trusted", async ({ init, code }) => {
  const clock = new FakeClock();
  const { ask } = await setUp({ clock, ca: new TestCa({ nowMs: clock.now(), ...init }) });
  expect(await codeOf(ask({ rootCertificates: undefined, maxAttempts: 1 }))).toBe(code);
});

test("a server of another root is final", async () => {
  const { rks, ask, clock } = await setUp();
  const other = new TestCa({ nowMs: clock.now() });
  const options = { rootCertificates: [other.root], joinToken: other.joinToken().text };
  expect(await codeOf(ask(options))).toBe("SERVER_UNTRUSTED");
  expect(rks.requests).toEqual([]);
});

test.each([
  {
    name: "another name",
    leaf: { dnsNames: ["worker-1"], commonName: "worker-1" },
    code: "SERVER_NAME_MISMATCH",
  },
  {
    name: "another name beside the right one",
    leaf: { commonName: "worker-1" },
    code: "SERVER_NAME_MISMATCH",
  },
  { name: "a client's usage", leaf: { extendedKeyUsage: [OID.clientAuth] }, code: "SERVER_UNTRUSTED" },
  {
    name: "a client's usage besides",
    leaf: { extendedKeyUsage: [OID.serverAuth, OID.clientAuth] },
    code: "SERVER_UNTRUSTED",
  },
  { name: "no usage at all", leaf: { extendedKeyUsage: [] }, code: "SERVER_UNTRUSTED" },
] as const)("a server whose certificate has $name is sent nothing", async ({ leaf, code }) => {
  const { rks, ask } = await setUp({ serverLeaf: leaf });
  expect(await codeOf(ask())).toBe(code);
  expect(rks.requests).toEqual([]);
});

test.each([
  "JOIN_TOKEN_INVALID",
  "JOIN_TOKEN_EXPIRED",
  "JOIN_TOKEN_USED",
  "JOIN_TOKEN_REVOKED",
  "JOIN_TOKEN_SCOPE",
  "NODE_NAME_TAKEN",
  "NODE_BANNED",
] as const)("%s is final", async (code) => {
  const { rks, ask } = await setUp({
    answer: ({ message }) => (message.type === "CertificateSign" ? refusal(code) : undefined),
  });
  expect(await codeOf(ask())).toBe(code);
  expect(rks.connections).toHaveLength(1);
});

/** Gives `answer` to the first `count` requests for a certificate. */
function atFirst(
  count: number,
  answer: (message: RksMessage) => FakeAnswer,
): NonNullable<FakeRksInit["answer"]> {
  let left = count;
  return ({ message }) => (message.type === "CertificateSign" && left-- > 0 ? answer(message) : undefined);
}

test("a lost answer is asked for again, by the same key on another connection with another nonce", async () => {
  const { rks, ask, clock } = await setUp({ answer: atFirst(1, () => "silence") });
  const result = ask();
  await rks.received("CertificateSign");
  rks.loseConnections();
  await clock.nextSleep();
  await pause(clock, 750);
  using identity = await result;
  expect(identity.nodeName).toBe("worker-1");
  const signs = rks.requests.filter((message) => message.type === "CertificateSign");
  expect(signs).toHaveLength(2);
  expect(signs[0]!.csr).toEqual(signs[1]!.csr);
  expect(signs[0]!.proof).not.toEqual(signs[1]!.proof);
});

/** Wait until the code under test sleeps exactly so long, then let that time pass. */
async function pause(clock: FakeClock, ms: number): Promise<void> {
  while ((await clock.nextSleep()) !== ms);
  clock.advance(ms);
}

test("a busy control plane is asked four times, with growing pauses, then it is the caller's to decide", async () => {
  const { rks, ask, clock } = await setUp({ answer: atFirst(9, () => refusal("BUSY")) });
  const result = codeOf(ask());
  await pause(clock, 750);
  await pause(clock, 1250);
  await pause(clock, 2250);
  expect(await result).toBe("BUSY");
  expect(rks.connections).toHaveLength(4);
  expect(clock.pendingSleeps).toBe(0);
});

/** Two control planes of which the first one is away, in the order in which they are turned to. */
function firstAway(address: string): RksAddresses {
  let place = 0;
  return RksAddresses.parse(`127.0.0.1:1,${address}`, () => (place += 0.01));
}

test("of two control planes the other one is asked after a moment when one is away", async () => {
  const { rks, ask, clock } = await setUp();
  const result = ask({ addresses: firstAway(rks.address) });
  await pause(clock, 175);
  using identity = await result;
  expect(identity.nodeName).toBe("worker-1");
  expect(rks.connections).toHaveLength(1);
});

test("each of two control planes is asked as often as it was said, and pays for its own failures", async () => {
  const { rks, ask, clock } = await setUp({ answer: atFirst(9, () => refusal("BUSY")) });
  const result = codeOf(ask({ addresses: firstAway(rks.address), maxAttempts: 2 }));
  for (const ms of [175, 575, 175]) await pause(clock, ms);
  expect(await result).toBe("BUSY");
  expect(rks.connections).toHaveLength(2);
  expect(clock.pendingSleeps).toBe(0);
});

test("a node without a name takes the token's", async () => {
  const { rks, ask } = await setUp({ tokenName: "bound" });
  using identity = await ask({ nodeName: undefined });
  expect(identity.nodeName).toBe("bound");
  expect(rks.connections).toHaveLength(1);
});

test("a node without a name whose token has none either takes its host's", async () => {
  const { rks, ask } = await setUp();
  using identity = await ask({ nodeName: undefined });
  expect(identity.nodeName).toBe(hostname().split(".", 1)[0]!.toLowerCase());
  expect(rks.connections).toHaveLength(1);
});

test("without a name a request of the caller's own asks by its common name", async () => {
  const { ask } = await setUp();
  const keyPair = KeyPair.create();
  const csr = createCertificateRequest(keyPair, { commonName: "mine" });
  using identity = await ask({ nodeName: undefined, keyPair, csr });
  expect(identity.nodeName).toBe("mine");
});

test.each(["Hello", "CertificateSign"] as const)(
  "a server that is silent after %s is given up",
  async (type) => {
    const { ask, clock } = await setUp({
      answer: ({ message }) => (message.type === type ? "silence" : undefined),
    });
    const result = codeOf(ask({ maxAttempts: 1 }));
    if (type === "CertificateSign") await clock.nextSleep();
    await pause(clock, 10_000);
    expect(await result).toBe("TIMED_OUT");
  },
);

const GARBAGE = [
  { name: "no frame", bytes: [0, 0, 0, 0, 1], code: "FRAME_INVALID" },
  { name: "an unknown kind of frame", bytes: [0, 0, 0, 2, 9, 1], code: "FRAME_INVALID" },
  { name: "a frame that never ends", bytes: [0, 0, 1, 0, 1, 65], code: "MESSAGE_TRUNCATED" },
  { name: "a giant frame", bytes: [255, 255, 255, 255, 1], code: "MESSAGE_TOO_LARGE" },
  { name: "text that is not JSON", bytes: [0, 0, 0, 3, 1, 65, 66], code: "MESSAGE_INVALID" },
  { name: "another message", bytes: [0, 0, 0, 6, 1, ...Buffer.from('"Ack"')], code: "MESSAGE_UNEXPECTED" },
  { name: "nothing", bytes: [], code: "MESSAGE_TRUNCATED" },
] as const;

test.each(GARBAGE)("a server that answers Hello with $name is refused", async ({ bytes, code }) => {
  const { ask } = await setUp({
    answer: ({ message }) => (message.type === "Hello" ? Uint8Array.from(bytes) : undefined),
  });
  expect(await codeOf(ask({ maxAttempts: 1 }))).toBe(code);
});

test.each(GARBAGE)("a server that answers CertificateSign with $name is refused", async ({ bytes, code }) => {
  const { ask } = await setUp({
    answer: ({ message }) => (message.type === "CertificateSign" ? Uint8Array.from(bytes) : undefined),
  });
  expect(await codeOf(ask({ maxAttempts: 1 }))).toBe(code);
});

test.each(["Hello", "CertificateSign"] as const)("aborting while %s is out ends it at once", async (type) => {
  const { rks, ask, clock } = await setUp({
    answer: ({ message }) => (message.type === type ? "silence" : undefined),
  });
  const controller = new AbortController();
  const result = thrown(ask({ signal: controller.signal }));
  await rks.received(type);
  const reason = new Error("enough");
  controller.abort(reason);
  expect(await result).toBe(reason);
  expect(clock.pendingSleeps).toBe(0);
});

test("aborting during a pause ends it at once", async () => {
  const { ask, clock } = await setUp({ answer: atFirst(9, () => refusal("BUSY")) });
  const controller = new AbortController();
  const result = thrown(ask({ signal: controller.signal }));
  while ((await clock.nextSleep()) !== 750);
  const reason = new Error("enough");
  controller.abort(reason);
  expect(await result).toBe(reason);
  expect(clock.pendingSleeps).toBe(0);
});

test("an aborted signal sends nothing", async () => {
  const { rks, ask } = await setUp();
  expect(await thrown(ask({ signal: AbortSignal.abort(new Error("before")) }))).toBeInstanceOf(Error);
  expect(rks.connections).toEqual([]);
});

test.each([
  { name: "address", options: { rksAddress: "nowhere" }, code: "USAGE_INVALID" },
  { name: "join token", options: { joinToken: "rkj1.abc" }, code: "JOIN_TOKEN_MALFORMED" },
  { name: "node name", options: { nodeName: "rks-1" }, code: "NODE_NAME_INVALID" },
  { name: "root certificate", options: { rootCertificates: "nothing here" }, code: "CONFIG_INVALID" },
  {
    name: "path of a root certificate",
    options: { rootCertificates: undefined, rootCertPath: "/no/such.pem" },
    code: "CONFIG_INVALID",
  },
] as const)("a bad $name is refused before anything is sent", async ({ options, code }) => {
  const { rks, ask } = await setUp();
  expect(await codeOf(ask(options))).toBe(code);
  expect(rks.connections).toEqual([]);
});

test("a token that is already parsed does as well", async () => {
  const { ask, rks } = await setUp();
  using identity = await ask({ joinToken: parseJoinToken(rks.joinToken) });
  expect(identity.role).toBe("node");
});
