import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { newToken, tokenState } from "./harness/ask-rks.js";
import { assertDone, Cluster, type MintedToken } from "./harness/cluster.js";
import type { Daemon } from "./harness/process.js";

let cluster: Cluster;
let other: Cluster;
let names = 0;
const nextName = (): string => `worker-${++names}`;

beforeAll(async () => {
  [cluster, other] = await Promise.all([Cluster.start(), Cluster.start()]);
});
afterAll(async () => {
  await Promise.all([cluster, other].map((one) => one[Symbol.asyncDispose]()));
});

/** The refusal that ends an agent for good. */
async function refusal(
  agent: Daemon,
): Promise<{ status: number | null; code: unknown; suggestion: unknown }> {
  const status = await agent.exited;
  const last = agent.lines.at(-1);
  expect(last).toMatchObject({ event: "error" });
  return { status, code: last!["code"], suggestion: last!["suggestion"] };
}

test("a used token is refused, and the refusal says when and by which node", async () => {
  const { token, id } = await newToken(cluster);
  const owner = nextName();
  await cluster.startAgent(owner, token).event("registered");

  const second = cluster.startAgent(nextName(), token);

  expect(await refusal(second)).toMatchObject({ status: 77, code: "JOIN_TOKEN_USED" });
  expect(second.lines.at(-1)!["message"]).toContain(owner);
  const list = await cluster.rks(["join-token", "list", "--config", cluster.configFile, "--json"]);
  const listed = (JSON.parse(assertDone(list).stdout) as { id: string }[]).find((entry) => entry.id === id);
  expect(JSON.stringify(listed)).toContain(owner);
  expect(list.stdout).not.toContain(token);
});

test("an expired token is refused", async () => {
  const { token, expiresAt } = await cluster.mintToken(["--ttl", "1s"]);
  await new Promise((resolve) => setTimeout(resolve, Date.parse(expiresAt) - Date.now() + 50));

  expect(await refusal(cluster.startAgent(nextName(), token))).toMatchObject({
    status: 77,
    code: "JOIN_TOKEN_EXPIRED",
  });
});

test("a revoked token is refused", async () => {
  const { token, id } = await newToken(cluster);
  assertDone(await cluster.rks(["join-token", "revoke", id, "--config", cluster.configFile]));

  expect(await refusal(cluster.startAgent(nextName(), token))).toMatchObject({
    status: 77,
    code: "JOIN_TOKEN_REVOKED",
  });
});

test("a mistyped token is told apart from an unknown one, before anything is sent", async () => {
  const { token } = await newToken(cluster);
  const mistyped = token.slice(0, -1) + (token.endsWith("A") ? "Q" : "A");

  expect(await refusal(cluster.startAgent(nextName(), mistyped))).toMatchObject({
    status: 65,
    code: "JOIN_TOKEN_MALFORMED",
  });
});

test("a token of another cluster does not fit this one's root", async () => {
  const { token } = await newToken(other);

  expect(await refusal(cluster.startAgent(nextName(), token))).toMatchObject({
    status: 77,
    code: "CA_PIN_MISMATCH",
  });
});

test("the wrong root certificate file is refused before the token is used", async () => {
  const { token } = await newToken(cluster);

  const agent = cluster.startAgent(nextName(), token, { rootCertPath: other.rootCertPath });

  expect(await refusal(agent)).toMatchObject({ status: 77, code: "CA_PIN_MISMATCH" });
});

test("a root certificate file that is none is bad configuration", async () => {
  const { token } = await newToken(cluster);
  const file = join(cluster.folder, "not-a-root.pem");
  await writeFile(file, "hello\n");

  const agent = cluster.startAgent(nextName(), token, { rootCertPath: file });

  expect(await agent.exited).toBe(78);
});

const SCOPES: readonly { name: string; flags: readonly string[] }[] = [
  { name: "for another node", flags: ["--node", "somebody-else"] },
  { name: "for another network", flags: ["--cidr", "10.99.0.0/16"] },
  { name: "for operators", flags: ["--role", "operator"] },
];
test.each(SCOPES)("a token $name is refused and stays unused", async ({ flags }) => {
  const { token, id } = await cluster.mintToken(flags);

  expect(await refusal(cluster.startAgent(nextName(), token))).toMatchObject({
    status: 77,
    code: "JOIN_TOKEN_SCOPE",
  });
  expect(await tokenState(cluster, id)).toMatchObject({ status: "usable", usedCount: 0 });
});

test("a name that another key holds is taken, the token survives, and rejoin is the remedy", async () => {
  const name = nextName();
  const first = await cluster.joinNode(name);
  const { token } = await newToken(cluster);

  const usurper = cluster.startAgent(name, token, {
    dataFolder: join(cluster.folder, `another-host-${name}`),
  });
  expect(await refusal(usurper)).toMatchObject({ status: 77, code: "NODE_NAME_TAKEN" });
  expect(String(usurper.lines.at(-1)!["suggestion"])).toContain(`rks node rejoin ${name}`);

  await cluster.startAgent(nextName(), token).event("registered");
  expect(first.lines.some((line) => line["event"] === "disconnected")).toBe(false);
});

test("a rejoin replaces the old identity and ends its connection", async () => {
  const name = nextName();
  const first = await cluster.joinNode(name);
  const rejoin = await cluster.rks(["node", "rejoin", name, "--config", cluster.configFile, "--json"]);
  const { token } = JSON.parse(assertDone(rejoin).stdout) as MintedToken;

  const second = cluster.startAgent(name, token, {
    dataFolder: join(cluster.folder, `another-host-${name}`),
  });
  const { serial } = await second.event("registered");

  expect(await first.exited).toBe(77);
  const listed = (await cluster.nodes()).find((node) => node.name === name);
  expect(listed).toMatchObject({ certificateSerial: serial });
});

test("an evicted node is disconnected for good and may join again with a new token", async () => {
  const name = nextName();
  const first = await cluster.joinNode(name);

  assertDone(await cluster.rks(["node", "evict", name, "--config", cluster.configFile]));

  expect(await first.exited).toBe(77);
  expect(await nodeNames()).not.toContain(name);
  await cluster.joinNode(name);
});

async function nodeNames(): Promise<readonly string[]> {
  return (await cluster.nodes()).map(({ name }) => name);
}
