import { X509Certificate } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { clusterState, newToken } from "./harness/ask-rks.js";
import { assertDone, Cluster } from "./harness/cluster.js";
import { eventually } from "./harness/eventually.js";
import { Daemon, RKL, ROOT, runCommand } from "./harness/process.js";

const EXAMPLES = join(ROOT, "examples");
/** An example "in at most 15 lines of its own" is the promise; blank lines and comments do not count. */
const SIMPLE_LINES = 15;

let cluster: Cluster;
beforeAll(async () => {
  const compiler = join(ROOT, "node_modules", "typescript", "bin", "tsc");
  assertDone(await runCommand(compiler, ["-p", EXAMPLES]));
  cluster = await Cluster.start();
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

/** The compiled program of an example. */
function program(name: string): string {
  return join(EXAMPLES, "dist", `${name}.js`);
}

/** `rks gen join-token --out DIR`, as the examples' README says; returns the paths of what it wrote. */
async function tokenFiles(name: string): Promise<{ tokenFile: string; rootPem: string }> {
  const folder = join(cluster.folder, `token-of-${name}`);
  assertDone(
    await cluster.rks(["gen", "join-token", "--config", cluster.configFile, "--node", name, "--out", folder]),
  );
  return { tokenFile: join(folder, "join.token"), rootPem: join(folder, "root.pem") };
}

test("every example is run here", async () => {
  const files = await readdir(EXAMPLES, { recursive: true });
  const programs = files.filter((file) => /^(?!.*(node_modules|dist)\b).*(?<!\.d)\.ts$/.test(file));
  expect(programs.toSorted()).toEqual([
    "custom-agent/advanced.ts",
    "custom-agent/simple.ts",
    "join-check/allowed-hosts.ts",
    "seed-000/quic-pair.ts",
    "seed-000/vault-as-certificate-manager.ts",
    "seed-002/client-certificates.ts",
  ]);
});

test("simple: a node in fifteen lines joins, is asked to run a pod, and says goodbye", async () => {
  const source = await readFile(join(EXAMPLES, "custom-agent", "simple.ts"), "utf8");
  const lines = source.split("\n").filter((line) => line.trim() !== "" && !line.startsWith("/"));
  expect(lines.length).toBeLessThanOrEqual(SIMPLE_LINES);

  const { tokenFile } = await tokenFiles("simple-1");
  await using agent = new Daemon(program("custom-agent/simple"), [cluster.address, tokenFile, "simple-1"]);
  await agent.event("registered");
  await eventually(
    () => cluster.nodes(),
    (nodes) => nodes.some(({ name, status }) => name === "simple-1" && status === "Ready"),
  );
  const manifest = await readFile(join(EXAMPLES, "manifests", "hello.yaml"), "utf8");
  assertDone(await cluster.operator(["apply", "-f", "-"], { stdin: manifest }));
  await eventually(
    () => Promise.resolve(agent.stderr),
    (said) => said.includes("asked to run hello"),
  );
  assertDone(await cluster.operator(["delete", "pod", "hello"]));

  expect(await agent.stop()).toBe(0);
  expect(agent.lines.at(-1)).toMatchObject({ event: "stopped" });
});

test("simple: a used token ends it with the reason", async () => {
  const { tokenFile } = await tokenFiles("simple-2");
  await using first = new Daemon(program("custom-agent/simple"), [cluster.address, tokenFile, "simple-2"]);
  await first.event("registered");
  await using second = new Daemon(program("custom-agent/simple"), [cluster.address, tokenFile, "simple-2"]);

  expect(await second.event("error")).toMatchObject({ code: "JOIN_TOKEN_USED" });
  expect(await second.exited).not.toBe(0);
});

test("advanced: each stage by hand, with a key pair and a request of other libraries", async () => {
  const { tokenFile, rootPem } = await tokenFiles("advanced-1");
  const args = [cluster.address, tokenFile, rootPem, "advanced-1"];

  const { stdout } = assertDone(await runCommand(program("custom-agent/advanced"), args));

  expect(stdout).toMatch(/^joined as advanced-1, certificate \S+$/m);
  const serial = /^renewed as advanced-1, certificate (\S+)$/m.exec(stdout)?.[1];
  const { nodes } = await clusterState(cluster);
  expect(nodes.find(({ name }) => name === "advanced-1")?.serial).toBe(serial);
  expect(stdout).toMatch(/^connected to .*rks-cluster.*, protocol version 1$/m);
  expect(stdout).toMatch(/^registered; a heartbeat is wanted every 1 s$/m);
  expect(stdout.endsWith("done\n")).toBe(true);
});

test("join check: only a node on the list joins, and the others are told why", async () => {
  await using guarded = await Cluster.create();
  const listFile = join(guarded.folder, "allowed-hosts.txt");
  await writeFile(listFile, "worker-1\n");
  await using rks = new Daemon(program("join-check/allowed-hosts"), [guarded.configFile, listFile]);
  const { quic } = await rks.line((line) => line["ready"] === true);
  const agent = (name: string, { token }: { readonly token: string }): Daemon =>
    new Daemon(RKL, [
      ...["pod", "daemon", "--json", "--rks-address", String(quic), "--join-token", token],
      ...["--node-name", name, "--data-dir", join(guarded.folder, name)],
    ]);
  const token = await newToken(guarded);

  await using other = agent("worker-2", token);
  expect(await other.event("error")).toMatchObject({
    code: "PERMISSION_DENIED",
    message: 'join check "allowed hosts": node "worker-2" is not on the list',
  });
  await using worker = agent("worker-1", token);
  await worker.event("registered");
});

test("seed 000: a vault as certificate manager issues what its role allows", async () => {
  const { stdout } = assertDone(
    await runCommand(program("seed-000/vault-as-certificate-manager"), [join(cluster.folder, "vault-demo")]),
  );

  const leaf = new X509Certificate(/-----BEGIN[^]*?-----END CERTIFICATE-----/.exec(stdout)![0]);
  expect(leaf.subject).toBe("CN=node-01.svc.rk8s.local");
  expect(leaf.subjectAltName).toBe("DNS:node-01.svc.rk8s.local, DNS:node-01, IP Address:10.40.0.10");
  expect(stdout).toMatch(/^Serial number: ([0-9a-f]{2}:)+[0-9a-f]{2}$/m);
  expect(stdout).toMatch(/^Chain length: {2}2$/m);
  expect(stdout).not.toContain("PRIVATE KEY");
});

test("seed 000: a QUIC pair says hello and welcome over mutual TLS", async () => {
  const { stdout } = assertDone(await runCommand(program("seed-000/quic-pair"), []));

  expect(stdout).toContain("server received: hello\n");
  expect(stdout).toContain("client received: welcome\n");
});

test("seed 002: a service account gets a client certificate and gives it back", async () => {
  const { stdout } = assertDone(await runCommand(program("seed-002/client-certificates"), []));

  const leaf = new X509Certificate(/-----BEGIN[^]*?-----END CERTIFICATE-----/.exec(stdout)![0]);
  expect(leaf.subject).toBe("CN=tenant-acme-thales.keystore.internal");
  expect(leaf.keyUsage).toEqual(["1.3.6.1.5.5.7.3.2"]);
  expect(stdout).toMatch(/^logged in with the policies cmk, default$/m);
  expect(stdout).toMatch(/^the revocation list has it: true$/m);
  expect(stdout).not.toContain("PRIVATE KEY");
});

test("an example with a token of another cluster does not join", async () => {
  await using other = await Cluster.start();
  const { token } = await newToken(other);
  const { rootPem } = await tokenFiles("advanced-2");
  const foreignFile = join(cluster.folder, "foreign.token");
  await writeFile(foreignFile, token, { mode: 0o600 });
  const args = [cluster.address, foreignFile, rootPem, "advanced-2"];

  const { status, stderr } = await runCommand(program("custom-agent/advanced"), args);

  expect(status).not.toBe(0);
  expect(stderr).toContain("CA_PIN_MISMATCH");
  const { nodes } = await clusterState(cluster);
  expect(nodes.map(({ name }) => name)).not.toContain("advanced-2");
});
