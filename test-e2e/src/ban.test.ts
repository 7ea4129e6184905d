import { execFileSync, spawnSync } from "node:child_process";
import { sign } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join as joinPath } from "node:path";
import {
  assertAnswer,
  CLOSE_CODES,
  type Credentials,
  type Message,
  renewProofTranscript,
} from "@rk8s/protocol";
import { aNodeStatus } from "@rk8s/protocol/testing";
import { encodePem } from "@rk8s/x509";
import { afterAll, beforeAll, expect, test } from "vitest";
import { askRks, newToken } from "./harness/ask-rks.js";
import { assertDone, Cluster, type ListedNode, type MintedToken } from "./harness/cluster.js";
import { eventually } from "./harness/eventually.js";
import { suiteThatNeeds } from "./harness/needs.js";
import type { Daemon } from "./harness/process.js";
import { credentialsOf, join, RawAgent, refusalOf } from "./harness/raw-agent.js";
import { aKey, aRequest, type RawKey } from "./harness/raw-request.js";

/** What `rks node show --json` says about refusals. */
interface ShownNode extends ListedNode {
  readonly uid: string;
  readonly refusedBecause: string | null;
  readonly conditions: readonly { readonly type: string; readonly reason?: string }[];
}

let cluster: Cluster;
let names = 0;
const nextName = (): string => `node-${++names}`;

beforeAll(async () => {
  cluster = await Cluster.start();
});
afterAll(async () => cluster[Symbol.asyncDispose]());

async function node(verb: string, name: string, ...args: string[]): Promise<string> {
  const result = await cluster.rks(["node", verb, name, ...args, "--config", cluster.configFile]);
  return assertDone(result).stdout;
}

async function show(name: string): Promise<ShownNode> {
  return (await askRks(cluster, "GET", `/v1/rk8s/nodes/${name}`)) as ShownNode;
}

/** The same without a process for it. */
async function tell(verb: string, name: string): Promise<unknown> {
  return askRks(cluster, "POST", `/v1/rk8s/nodes/${name}/${verb}`, {});
}

async function rejoinToken(name: string): Promise<string> {
  return ((await tell("rejoin", name)) as MintedToken).token;
}

/** Start an agent with a token of its own and wait until it has registered. */
async function joinNode(name: string): Promise<Daemon> {
  const agent = cluster.startAgent(name, (await newToken(cluster, { node: name })).token);
  await agent.event("registered");
  return agent;
}

/** The codes of the refusals that a daemon told of, and its exit status. */
async function endOf(agent: Daemon): Promise<{ readonly codes: unknown[]; readonly status: number | null }> {
  const status = await agent.exited;
  return { codes: agent.lines.filter(({ event }) => event === "error").map(({ code }) => code), status };
}

/** A node without an agent: its key and certificate, which a test may copy. */
interface Copied {
  readonly name: string;
  readonly key: RawKey;
  readonly certificate: Message<"Certificate">;
  readonly credentials: Credentials;
}

async function aCopiedNode(on: Cluster = cluster): Promise<Copied> {
  const [name, key] = [nextName(), aKey()];
  const { token } = await newToken(on);
  const certificate = await join(on, { token, csr: aRequest({ key }), nodeName: name });
  return { name, key, certificate, credentials: copyOf(certificate, key) };
}

function copyOf(certificate: Message<"Certificate">, key: RawKey): Credentials {
  return credentialsOf(certificate, key.pkcs8);
}

/** Connect as the node, by a process of this id. */
async function takeNode(
  { name, certificate, key }: Copied,
  instanceId: string,
): Promise<{ readonly agent: RawAgent; readonly welcome: Uint8Array }> {
  const agent = await RawAgent.dial(cluster, { credentials: copyOf(certificate, key) });
  const { welcome } = await agent.greet();
  const status = aNodeStatus();
  await agent.ask({ type: "RegisterNode", nodeName: name, version: "1", instanceId, status, pods: [] });
  return { agent, welcome };
}

async function auditLines(operation: string): Promise<string[]> {
  const text = await readFile(joinPath(cluster.vaultFolder, "audit.log"), "utf8");
  return text.split("\n").filter((line) => line.includes(`"${operation}"`));
}

test("a banned node is told within a second, says so once and stops; unban and rejoin bring it back", async () => {
  const name = nextName();
  const agent = await joinNode(name);
  const { uid } = await show(name);

  await askRks(cluster, "POST", `/v1/rk8s/nodes/${name}/ban`, { reason: "stolen" });
  const bannedAt = performance.now();
  await agent.event("error");
  expect(performance.now() - bannedAt).toBeLessThan(1000);
  expect(await endOf(agent)).toEqual({ codes: ["NODE_BANNED"], status: 77 });
  expect(agent.lines.at(-1)).toMatchObject({ suggestion: expect.stringContaining(`rks node unban ${name}`) });
  expect(await show(name)).toMatchObject({ status: "Banned", refusedBecause: "stolen" });

  const { token } = await newToken(cluster, { node: name });
  const again = cluster.startAgent(name, token);
  expect(await endOf(again)).toEqual({ codes: ["NODE_BANNED"], status: 77 });
  const refused = await cluster.rks(["node", "rejoin", name, "--config", cluster.configFile]);
  expect(refused).toMatchObject({ status: 77, stderr: expect.stringContaining(`rks node unban ${name}`) });

  expect(await node("unban", name)).toBe(`unbanned ${name}\n`);
  const back = cluster.startAgent(name, await rejoinToken(name));
  await back.event("registered");
  const shown = await eventually(
    () => show(name),
    ({ status }) => status === "Ready",
  );
  expect(shown).toMatchObject({ uid, refusedBecause: null });
  await back.stop();
}, 60_000);

test("an evicted node stops, and may come back with a new token as a new node", async () => {
  const name = nextName();
  const agent = await joinNode(name);
  const { uid } = await show(name);
  await tell("evict", name);
  expect(await endOf(agent)).toEqual({ codes: ["NODE_EVICTED"], status: 77 });
  const back = await joinNode(name);
  expect((await show(name)).uid).not.toBe(uid);
  await back.stop();
}, 60_000);

test("a name is not another key's before an operator says so, and then the first agent ends", async () => {
  const name = nextName();
  const agent = await joinNode(name);
  const other = joinPath(cluster.folder, `${name}-other`);
  const thief = cluster.startAgent(name, (await newToken(cluster)).token, { dataFolder: other });
  expect(await endOf(thief)).toEqual({ codes: ["NODE_NAME_TAKEN"], status: 77 });
  const heir = cluster.startAgent(name, await rejoinToken(name), { dataFolder: other });
  await heir.event("registered");
  expect(await endOf(agent)).toEqual({ codes: ["CERTIFICATE_REVOKED"], status: 77 });
  await heir.stop();
}, 60_000);

test("an operator's demand renews a node's certificate, and nothing else changes", async () => {
  const name = nextName();
  const agent = await joinNode(name);
  const before = await show(name);
  expect(await node("renew", name, "--reason", "a drill")).toBe(`${name} renews its certificate\n`);
  await agent.event("renewed");
  const after = await show(name);
  expect(after).toMatchObject({ uid: before.uid, status: "Ready", certificateGeneration: 1 });
  expect(after.certificateSerial).not.toBe(before.certificateSerial);
  await agent.stop();
}, 60_000);

test("two processes with one identity are both refused when the first is back", async () => {
  const copied = await aCopiedNode();
  const { name, credentials } = copied;
  const first = await takeNode(copied, "first");
  const second = await takeNode(copied, "second");
  expect(await first.agent.connection.ended).toMatchObject({ by: "peer", code: CLOSE_CODES.CONFLICT });
  await takeNode(copied, "first").catch(() => undefined);
  expect(await second.agent.connection.ended).toMatchObject({ code: CLOSE_CODES.IDENTITY_CLONED });
  const late = await RawAgent.dial(cluster, { credentials });
  expect(await refusalOf(late.greet())).toBe("IDENTITY_CLONED");
  const { status, conditions } = await show(name);
  expect([status, conditions.find(({ type }) => type === "CloneSuspected")?.reason]).toEqual([
    "Banned",
    "TwoProcesses",
  ]);
  const alarms = await auditLines("node.clone-alarm");
  expect(alarms.filter((line) => line.includes(`"${name}"`))).toHaveLength(2);
}, 60_000);

test("a certificate that was replaced by a renewal is refused, and the operator learns of it", async () => {
  const copied = await aCopiedNode();
  const { agent, welcome } = await takeNode(copied, "only");
  const key = aKey();
  const csr = aRequest({ key });
  const proof = new Uint8Array(sign("sha256", renewProofTranscript({ welcome, csr }), key.privateKey));
  const answer = await agent.ask({ type: "CertificateRenew", csr, proof });
  const certificate = assertAnswer(answer.message, "Certificate");
  const renewed = await takeNode({ ...copied, key, certificate }, "only");

  const old = await RawAgent.dial(cluster, { credentials: copied.credentials });
  expect(await refusalOf(old.greet())).toBe("CERTIFICATE_REVOKED");
  const { status, conditions } = await eventually(
    () => show(copied.name),
    (shown) => shown.conditions.some(({ type }) => type === "CloneSuspected"),
  );
  expect([status, conditions.find(({ type }) => type === "CloneSuspected")?.reason]).toEqual([
    "Ready",
    "OlderCertificatePresented",
  ]);
  await renewed.agent.ask({ type: "Heartbeat", status: aNodeStatus() });
}, 60_000);

test("a connection ends with its certificate", async () => {
  await using brief = await Cluster.start({ certificates: { node_ttl: "5s" } });
  const { credentials, certificate } = await aCopiedNode(brief);
  await using agent = await RawAgent.dial(brief, { credentials });
  await agent.greet();
  expect(await agent.connection.ended).toMatchObject({ by: "peer", code: CLOSE_CODES.CERTIFICATE_EXPIRED });
  expect(Date.now() - Date.parse(certificate.notAfter)).toBeLessThan(2000);
}, 60_000);

suiteThatNeeds(["openssl", "curl"], "the revocation list and OCSP, as everyone can read them", () => {
  test("agree on what is banned, let in again, replaced, evicted and good", async () => {
    const files = await aStatusDesk();
    const nodes: Readonly<Record<string, Copied>> = {
      good: await aCopiedNode(),
      banned: await aCopiedNode(),
      unbanned: await aCopiedNode(),
      replaced: await aCopiedNode(),
      evicted: await aCopiedNode(),
    };
    await tell("ban", nodes["banned"]!.name);
    await tell("ban", nodes["unbanned"]!.name);
    await tell("unban", nodes["unbanned"]!.name);
    await tell("evict", nodes["evicted"]!.name);
    const heir = {
      token: await rejoinToken(nodes["replaced"]!.name),
      csr: aRequest({ key: aKey() }),
    };
    await join(cluster, heir);
    const revoked = ["banned", "replaced", "evicted"];
    for (const [state, { certificate }] of Object.entries(nodes)) {
      const expected = revoked.includes(state) ? "revoked" : "good";
      expect({ state, ...(await files.statusOf(certificate)) }).toEqual({
        state,
        ocsp: expected,
        list: expected,
      });
    }
  }, 60_000);
});

/** Asks over HTTPS without any token, and lets openssl judge the answers. */
async function aStatusDesk(): Promise<{
  statusOf(certificate: Message<"Certificate">): Promise<{ readonly ocsp: string; readonly list: string }>;
}> {
  const cwd = cluster.folder;
  await writeFile(joinPath(cwd, "root.pem"), await readFile(cluster.rootCertPath));
  const curl = (...args: string[]): Buffer =>
    execFileSync("curl", ["-sS", "--fail", "--cacert", "root.pem", ...args], { cwd });
  const openssl = (...args: string[]): string => {
    const { stdout, stderr } = spawnSync("openssl", args, { cwd, encoding: "utf8" });
    return stdout + stderr;
  };
  const base = `${cluster.httpAddress}/v1/rk8s-pki`;
  return {
    async statusOf({ leaf }) {
      await writeFile(joinPath(cwd, "leaf.pem"), encodePem("CERTIFICATE", leaf));
      const about = ["ocsp", "-issuer", "root.pem", "-cert", "leaf.pem", "-no_nonce"];
      openssl(...about, "-reqout", "question.der");
      const type = "Content-Type: application/ocsp-request";
      curl("-H", type, "--data-binary", "@question.der", "-o", "answer.der", `${base}/ocsp`);
      const said = openssl(...about, "-respin", "answer.der", "-CAfile", "root.pem");
      curl("-o", "crl.pem", `${base}/crl/pem`);
      const verified = openssl(
        "verify",
        "-crl_check",
        "-CRLfile",
        "crl.pem",
        "-CAfile",
        "root.pem",
        "leaf.pem",
      );
      return {
        ocsp: said.includes("Response verify OK") ? (/leaf\.pem: (\w+)/.exec(said)?.[1] ?? said) : said,
        list: verified.includes("certificate revoked")
          ? "revoked"
          : verified.includes("leaf.pem: OK")
            ? "good"
            : verified,
      };
    },
  };
}
