import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseJoinToken } from "@rk8s/protocol";
import { expect, test } from "vitest";
import { askRks } from "./harness/ask-rks.js";
import { Cluster } from "./harness/cluster.js";
import { eventually } from "./harness/eventually.js";
import { keysIn } from "./harness/memory-scan.js";
import { suiteThatNeeds } from "./harness/needs.js";

/** What begins every PKCS#8 P-256 private key, and what begins the PEM of any key or certificate. */
const PKCS8_P256 = Buffer.from("3081870201003013", "hex");
const MARKS = [PKCS8_P256, Buffer.from("PRIVATE KEY-----"), Buffer.from("-----BEGIN CERTIFICATE")];

/** All spellings of a token's secret that must not turn up anywhere. */
function spellings(token: string): Buffer[] {
  const seed = Buffer.from(parseJoinToken(token).seed.reveal());
  return [
    Buffer.from(token),
    seed,
    Buffer.from(seed.toString("hex")),
    Buffer.from(seed.toString("base64")),
    Buffer.from(seed.toString("base64url")),
  ];
}

function assertAbsent(haystack: Buffer, needles: readonly Buffer[], where: string): void {
  for (const needle of needles) {
    expect(haystack.includes(needle), `${needle.toString("latin1")} is in ${where}`).toBe(false);
  }
}

/** Every file below a folder, with its bytes. */
async function filesBelow(folder: string): Promise<{ path: string; bytes: Buffer }[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return Promise.all(
    files.map(async (entry) => {
      const path = join(entry.parentPath, entry.name);
      return { path, bytes: await readFile(path) };
    }),
  );
}

/** `strace -xx` prints every byte of a buffer as `\xNN`; this is what it printed, as bytes. */
function tracedBytes(lines: readonly string[]): Buffer {
  return Buffer.concat(
    lines.map((line) => {
      const digits = [...line.matchAll(/\\x([0-9a-f]{2})/g)].map(([, pair]) => pair!).join("");
      return Buffer.concat([Buffer.from(digits, "hex"), Buffer.from("\n")]);
    }),
  );
}

/** The supervisor's pipes, the one place for keys outside the process: without a name, and in the kernel's memory. */
const IDENTITY_PIPE = /\/rkl-\w+\/[ab]$/;

/** Where a traced call writes to, when that has no name any more: `write(3<\x2f…>(deleted), …`. */
function pathOf(line: string): string {
  return decoded(/^\d+ +write\(\d+<([^>]*)>\(deleted\), /.exec(line)?.[1]);
}

/** Calls by which a process writes to sockets that are not its output; a supervisor's are its workers' stdin: `write(20<\x73…>, …`. */
function socketWrites(pid: number, lines: readonly string[]): readonly string[] {
  const write = new RegExp(String.raw`^${pid} +write\((?![12]<)\d+<([^>]*)>, `);
  return lines.filter((line) => decoded(write.exec(line)?.[1]).startsWith("socket:"));
}

/** What a call has written. */
function textOf(line: string): string {
  return decoded(/>, "([^"]*)"/.exec(line)?.[1]);
}

function decoded(hex = ""): string {
  return Buffer.from(hex.replaceAll("\\x", ""), "hex").toString();
}

test("the data folder of rks holds no secret in clear, keys.json apart", async () => {
  await using cluster = await Cluster.start();
  const { token } = await cluster.mintToken();
  await cluster.startAgent("worker-1", token).event("registered");
  await cluster.controlPlane.stop();

  const files = (await filesBelow(cluster.vaultFolder)).filter(({ path }) => !path.endsWith("keys.json"));

  for (const { path, bytes } of files) {
    assertAbsent(bytes, [...spellings(token), PKCS8_P256, Buffer.from("PRIVATE KEY-----")], path);
  }
  expect(files.length).toBeGreaterThan(1);
});

test("no log line at debug level holds a token, a key or a certificate", async () => {
  await using cluster = await Cluster.start();
  const { token } = await cluster.mintToken();
  const agent = cluster.startAgent("worker-1", token);
  await agent.event("registered");
  await agent.stop();
  await cluster.controlPlane.stop();

  for (const daemon of [agent, cluster.controlPlane]) {
    const said = Buffer.from(daemon.stderr + JSON.stringify(daemon.lines));
    assertAbsent(said, [...spellings(token), ...MARKS], "the log");
  }
});

suiteThatNeeds(["linux", "strace"], "an agent watched by strace", () => {
  test("writes no key, certificate or token to any file, and sends none, through join, renewal and ten heartbeats", async () => {
    await using cluster = await Cluster.start({ heartbeat: { interval: "1s", grace: "10s" } });
    const { token } = await cluster.mintToken();
    const traceFile = join(cluster.folder, "trace");
    const calls = "openat,?creat,?rename,renameat2,write,writev,pwrite64,pwritev,sendto,sendmsg,sendmmsg";
    // -D: strace is the agent's child and not its parent, so that signals reach the agent.
    const prefix = [
      "strace",
      "-D",
      "-f",
      "--seccomp-bpf",
      "-xx",
      "-y",
      "-s",
      "1000000",
      "-e",
      `trace=${calls}`,
      "-o",
      traceFile,
    ];
    const agent = cluster.startAgent("worker-1", token, { prefix });
    await agent.event("registered");
    await askRks(cluster, "POST", "/v1/rk8s/nodes/worker-1/renew", { reason: "a test" });
    await agent.event("renewed");
    const heartbeats = await heartbeatsOf(cluster, 10);
    expect(heartbeats).toBe(10);

    const argv = await readFile(`/proc/${agent.pid}/cmdline`);
    await agent.stop();

    assertAbsent(argv, spellings(token), "argv");
    const trace = await eventually(
      async () => readFile(traceFile, "utf8"),
      // strace pads short process ids.
      (text) => new RegExp(String.raw`^${agent.pid} +\+{3} exited with 0 \+{3}`, "m").test(text),
    );
    const lines = trace.split("\n");
    const toPipes = lines.filter((line) => IDENTITY_PIPE.test(pathOf(line)));
    const keys = new Set(keysIn(tracedBytes(toPipes)).map((key) => key.toString("hex")));
    expect(keys.size, "the pipes held the key and the next one").toBe(2);
    const toWorker = socketWrites(agent.pid, lines);
    expect(toWorker.map(textOf), "the worker gets what came on stdin, and nothing else").toEqual([
      `${token}\n`,
    ]);
    const traced = tracedBytes(lines.filter((line) => !toPipes.includes(line) && !toWorker.includes(line)));
    for (const event of ["registered", "renewed"])
      expect(traced.includes(`"event":"${event}"`), "the trace shows what was written").toBe(true);
    assertAbsent(traced, [...spellings(token), ...MARKS], "something written");
    for (const { path, bytes } of await filesBelow(join(cluster.folder, "worker-1"))) {
      assertAbsent(bytes, [...spellings(token), ...MARKS], path);
    }
  });
});

/** Wait until the control plane has seen this many heartbeats of the only node. */
async function heartbeatsOf(cluster: Cluster, count: number): Promise<number> {
  const seen = new Set<string>();
  while (seen.size < count) {
    const [node] = await cluster.nodes();
    if (typeof node?.lastHeartbeat === "string") seen.add(node.lastHeartbeat);
  }
  return seen.size;
}
