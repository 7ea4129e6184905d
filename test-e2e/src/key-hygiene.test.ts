import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { askRks } from "./harness/ask-rks.js";
import { Cluster } from "./harness/cluster.js";
import { eventually } from "./harness/eventually.js";
import {
  type Hit,
  keysInPipes,
  needlesOf,
  scanBytes,
  scanProcess,
  type Needles,
} from "./harness/memory-scan.js";
import { suiteThatNeeds } from "./harness/needs.js";
import { workerPid } from "./harness/worker.js";

/** An old key is gone this long after the event of its renewal, in milliseconds. */
const GONE_AFTER_MS = 5000;

/** What the TLS stack has for each connection: BoringSSL's own number, once. */
const NATIVE: Omit<Hit, "region"> = { form: "littleEndian", isLocked: false };
/** What OpenSSL has, in the secure heap. */
const LOCKED: Omit<Hit, "region"> = { form: "littleEndian", isLocked: true };

function hitsIn(pid: number, needles: Needles): Omit<Hit, "region">[] {
  return scanProcess(pid, needles).map(({ form, isLocked }) => ({ form, isLocked }));
}

/** What is there at this very moment: the process stands still for as long as the scan takes. */
function stoppedHitsIn(pid: number, needles: Needles): Omit<Hit, "region">[] {
  process.kill(pid, "SIGSTOP");
  try {
    return hitsIn(pid, needles);
  } finally {
    process.kill(pid, "SIGCONT");
  }
}

/** A program that is careless with a key in every way that the scan has to see. Reads PKCS#8 from stdin. */
const CARELESS = `
  const { createPrivateKey } = require("node:crypto");
  const der = require("node:fs").readFileSync(0);
  globalThis.kept = [createPrivateKey({ key: der, format: "der", type: "pkcs8" })];
  globalThis.kept.push(kept[0].export({ format: "pem", type: "pkcs8" }));
  setInterval(() => undefined, 1e6);
  console.log("ready");
`;

async function careless(pkcs8: Buffer, cwd?: string): Promise<ChildProcess> {
  const command = `ulimit -S -c unlimited; exec "$0" -e "$1"`;
  const child = spawn("/bin/sh", ["-c", command, process.execPath, CARELESS], {
    stdio: ["pipe", "pipe", "inherit"],
    cwd,
  });
  child.stdin.end(pkcs8);
  await once(child.stdout, "data");
  return child;
}

function newKey(): Buffer {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return privateKey.export({ format: "der", type: "pkcs8" });
}

suiteThatNeeds(["linux", "root"], "an agent's memory", () => {
  test("is scanned by a scan that finds careless keys", async () => {
    const pkcs8 = newKey();
    const child = await careless(pkcs8);
    const forms = new Set(scanProcess(child.pid!, needlesOf(pkcs8)).map(({ form }) => form));
    const others = scanProcess(child.pid!, needlesOf(newKey()));
    child.kill("SIGKILL");

    expect(forms).toEqual(new Set(["bigEndian", "littleEndian", "pem"]));
    expect(others).toEqual([]);
  });

  test("holds the key once, locked, besides the TLS stack; the old one is gone 5 s after a renewal", async () => {
    await using cluster = await Cluster.start();
    const agent = await cluster.joinNode("worker-1");
    const first = needlesOf(keysInPipes(agent.pid)[0]!);
    const worker = (await workerPid(agent))!;
    expect(await settled(worker, first)).toEqual([LOCKED, NATIVE]);
    expect(hitsIn(agent.pid, first), "the supervisor").toEqual([]);

    await askRks(cluster, "POST", "/v1/rk8s/nodes/worker-1/renew", { reason: "a test" });
    const renewed = await agent.event("renewed");
    await sleep(Date.parse(String(renewed["time"])) + GONE_AFTER_MS - Date.now());
    expect(stoppedHitsIn(worker, first), `${GONE_AFTER_MS} ms after the renewal`).toEqual([]);
    const second = needlesOf(keysInPipes(agent.pid)[0]!);
    expect(second).not.toEqual(first);
    expect(await settled(worker, second)).toEqual([LOCKED, NATIVE]);

    process.kill(worker, "SIGKILL");
    const from = agent.lines.length;
    await agent.event("registered", from);
    expect(await settled((await workerPid(agent))!, second), "after resuming").toEqual([LOCKED, NATIVE]);
    expect(hitsIn(agent.pid, second), "the supervisor").toEqual([]);
  });

  test("leaves nothing in a core dump", async () => {
    const pattern = (await readFile("/proc/sys/kernel/core_pattern", "utf8")).trim();
    if (pattern.includes("/") || pattern.startsWith("|")) {
      process.stdout.write(`SKIPPED core files go elsewhere on this host: ${pattern}\n`);
      return;
    }
    await using cluster = await Cluster.start();
    const agent = await cluster.joinNode("worker-1", { cwd: cluster.folder });
    const worker = (await workerPid(agent))!;
    const key = needlesOf(keysInPipes(agent.pid)[0]!);
    // Against the limit that the agent has set itself: its memory is still not dumped.
    await once(spawn("prlimit", ["--pid", String(worker), "--core=unlimited:unlimited"]), "exit");
    const from = agent.lines.length;
    process.kill(worker, "SIGABRT");
    await agent.event("registered", from);
    const [core] = await coresIn(cluster.folder);

    const pkcs8 = newKey();
    const child = await careless(pkcs8, join(cluster.folder, "data"));
    child.kill("SIGABRT");
    await once(child, "exit");
    const [carelessCore] = await coresIn(join(cluster.folder, "data"));

    expect(scanBytes(carelessCore!, needlesOf(pkcs8)), "the scan finds what is there").not.toEqual([]);
    expect(core, "there is a core file of the agent").toBeDefined();
    expect(scanBytes(core!, key)).toEqual([]);
  });
});

/** What is there when the garbage collector has been by. */
async function settled(pid: number, needles: Needles): Promise<Omit<Hit, "region">[]> {
  const hits = await eventually(
    () => Promise.resolve(hitsIn(pid, needles)),
    (found) => found.length <= 2,
  );
  return hits.toSorted((a, b) => Number(b.isLocked) - Number(a.isLocked));
}

async function coresIn(folder: string): Promise<Buffer[]> {
  const names = (await readdir(folder)).filter((name) => /^core(\.\d+)?$/.test(name));
  return Promise.all(names.map((name) => readFile(join(folder, name))));
}
