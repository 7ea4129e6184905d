import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { assertDone, Cluster, type MintedToken } from "./harness/cluster.js";
import type { Daemon } from "./harness/process.js";

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
  await using cluster = await Cluster.start();
  const { token, id } = await cluster.mintToken();
  await cluster.startAgent("worker-1", token).event("registered");

  const second = cluster.startAgent("worker-2", token);

  expect(await refusal(second)).toMatchObject({ status: 77, code: "JOIN_TOKEN_USED" });
  expect(second.lines.at(-1)!["message"]).toContain("worker-1");
  const list = await cluster.rks(["join-token", "list", "--config", cluster.configFile, "--json"]);
  const listed = (JSON.parse(assertDone(list).stdout) as { id: string }[]).find((entry) => entry.id === id);
  expect(JSON.stringify(listed)).toContain("worker-1");
  expect(list.stdout).not.toContain(token);
});

test("an expired token is refused", async () => {
  await using cluster = await Cluster.start();
  const { token, expiresAt } = await cluster.mintToken(["--ttl", "1s"]);
  await new Promise((resolve) => setTimeout(resolve, Date.parse(expiresAt) - Date.now() + 50));

  expect(await refusal(cluster.startAgent("worker-1", token))).toMatchObject({
    status: 77,
    code: "JOIN_TOKEN_EXPIRED",
  });
});

test("a revoked token is refused", async () => {
  await using cluster = await Cluster.start();
  const { token, id } = await cluster.mintToken();
  assertDone(await cluster.rks(["join-token", "revoke", id, "--config", cluster.configFile]));

  expect(await refusal(cluster.startAgent("worker-1", token))).toMatchObject({
    status: 77,
    code: "JOIN_TOKEN_REVOKED",
  });
});

test("a mistyped token is told apart from an unknown one, before anything is sent", async () => {
  await using cluster = await Cluster.start();
  const { token } = await cluster.mintToken();
  const mistyped = token.slice(0, -1) + (token.endsWith("A") ? "Q" : "A");

  expect(await refusal(cluster.startAgent("worker-1", mistyped))).toMatchObject({
    status: 65,
    code: "JOIN_TOKEN_MALFORMED",
  });
});

test("a token of another cluster does not fit this one's root", async () => {
  await using cluster = await Cluster.start();
  await using other = await Cluster.start();
  const { token } = await other.mintToken();

  expect(await refusal(cluster.startAgent("worker-1", token))).toMatchObject({
    status: 77,
    code: "CA_PIN_MISMATCH",
  });
});

test("the wrong root certificate file is refused before the token is used", async () => {
  await using cluster = await Cluster.start();
  await using other = await Cluster.create();
  const { token } = await cluster.mintToken();

  const agent = cluster.startAgent("worker-1", token, { rootCertPath: other.rootCertPath });

  expect(await refusal(agent)).toMatchObject({ status: 77, code: "CA_PIN_MISMATCH" });
});

test("a root certificate file that is none is bad configuration", async () => {
  await using cluster = await Cluster.start();
  const { token } = await cluster.mintToken();
  const file = join(cluster.folder, "not-a-root.pem");
  await writeFile(file, "hello\n");

  const agent = cluster.startAgent("worker-1", token, { rootCertPath: file });

  expect(await agent.exited).toBe(78);
});

const SCOPES: readonly { name: string; flags: readonly string[] }[] = [
  { name: "for another node", flags: ["--node", "worker-9"] },
  { name: "for another network", flags: ["--cidr", "10.99.0.0/16"] },
  { name: "for operators", flags: ["--role", "operator"] },
];
test.each(SCOPES)("a token $name is refused and stays unused", async ({ flags }) => {
  await using cluster = await Cluster.start();
  const minted: MintedToken = await cluster.mintToken(flags);

  expect(await refusal(cluster.startAgent("worker-1", minted.token))).toMatchObject({
    status: 77,
    code: "JOIN_TOKEN_SCOPE",
  });
  expect(await cluster.nodes()).toEqual([]);
});

test("a name that another key holds is taken, the token survives, and rejoin is the remedy", async () => {
  await using cluster = await Cluster.start();
  const first = await cluster.joinNode("worker-1");
  const { token } = await cluster.mintToken();

  const usurper = cluster.startAgent("worker-1", token, { dataFolder: join(cluster.folder, "another-host") });
  expect(await refusal(usurper)).toMatchObject({ status: 77, code: "NODE_NAME_TAKEN" });
  expect(String(usurper.lines.at(-1)!["suggestion"])).toContain("rks node rejoin worker-1");

  await cluster.startAgent("worker-2", token).event("registered");
  expect(first.lines.some((line) => line["event"] === "disconnected")).toBe(false);
});

test("a rejoin replaces the old identity and ends its connection", async () => {
  await using cluster = await Cluster.start();
  const first = await cluster.joinNode("worker-1");
  const rejoin = await cluster.rks(["node", "rejoin", "worker-1", "--config", cluster.configFile, "--json"]);
  const { token } = JSON.parse(assertDone(rejoin).stdout) as MintedToken;

  const second = cluster.startAgent("worker-1", token, { dataFolder: join(cluster.folder, "another-host") });
  const { serial } = await second.event("registered");

  expect(await first.exited).toBe(77);
  expect((await cluster.nodes())[0]).toMatchObject({ name: "worker-1", certificateSerial: serial });
});

test("an evicted node is disconnected for good and may join again with a new token", async () => {
  await using cluster = await Cluster.start();
  const first = await cluster.joinNode("worker-1");

  assertDone(await cluster.rks(["node", "evict", "worker-1", "--config", cluster.configFile]));

  expect(await first.exited).toBe(77);
  expect(await cluster.nodes()).toEqual([]);
  await cluster.joinNode("worker-1");
});
