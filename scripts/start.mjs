/**
 * `npm start`: a control plane and two worker nodes on this machine, joined over mutual TLS, with a pod on each, all
 * as real processes. Runs until Ctrl-C and then leaves nothing behind; with `--once` it ends after the table.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { ROOT, setUp, step } from "./setup.mjs";

const RKS = join(ROOT, "packages", "control-plane", "bin", "rks.js");
const RKL = join(ROOT, "packages", "agent", "bin", "rkl.js");
const WORKERS = ["worker-1", "worker-2"];
const READY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 15_000;

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => interrupted.abort());

setUp();
const folder = mkdtempSync(join(tmpdir(), "rk8s-"));
const config = join(folder, "config.yaml");
const daemons = [];
let pods = [];
try {
  const rks = await startControlPlane();
  const workers = await Promise.all(WORKERS.map((name) => startWorker(name, rks)));
  daemons.push(...workers.map(({ daemon }) => daemon));
  await startPods(rks);
  await printCluster(rks);
  if (!process.argv.includes("--once")) await untilInterrupted(rks);
} catch (error) {
  if (!interrupted.signal.aborted) {
    process.stderr.write(`\n${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
} finally {
  await cleanUp();
}

/** Make the cluster's CA and start `rks`; resolves with its `ready` document. */
async function startControlPlane() {
  step("rks gen certs: a vault, the cluster's certificate authority, its roles");
  writeFileSync(
    config,
    'addr: "127.0.0.1:0"\nhttp_addr: "127.0.0.1:0"\ntls_config: { vault_folder: ./rks-data }\n',
  );
  await command(RKS, ["gen", "certs", "--config", config]);
  step("rks start: the control plane");
  const daemon = background("rks", RKS, ["start", "--config", config, "--json"]);
  daemons.push(daemon);
  return daemon.line((line) => line.ready === true);
}

/** Make a one-time token and start an agent with it; resolves when the node has registered. */
async function startWorker(name, rks) {
  step(`rks gen join-token, rkl pod daemon: ${name} joins`);
  const { token, rootCertPath } = JSON.parse(
    await command(RKS, ["gen", "join-token", "--config", config, "--node", name, "--json"]),
  );
  const args = ["pod", "daemon", "--node-name", name, "--data-dir", join(folder, name), "--json"];
  const daemon = background(
    name,
    RKL,
    [
      ...args,
      "--rks-address",
      rks.quic,
      "--enable-tls",
      "--root-cert-path",
      rootCertPath,
      "--join-token-file",
      "-",
    ],
    `${token}\n`,
  );
  try {
    const registered = await daemon.line((line) => line.event === "registered");
    step(`${name} is registered over mutual TLS, certificate ${registered.serial}`);
  } catch (error) {
    daemons.push(daemon);
    throw error;
  }
  return { daemon };
}

/** One sample pod on each node; resolves when both run. */
async function startPods(rks) {
  step("rkl apply: a pod on each node");
  for (const worker of WORKERS) {
    const file = join(folder, `${worker}.json`);
    writeFileSync(file, JSON.stringify(samplePod(worker)));
    await command(RKL, ["apply", "-f", file, "--socket", rks.socket]);
    pods.push(`hello-${worker}`);
  }
  const deadline = Date.now() + READY_TIMEOUT_MS;
  for (;;) {
    const list = JSON.parse(await command(RKL, ["get", "pods", "-o", "json", "--socket", rks.socket]));
    if (list.length === WORKERS.length && list.every(({ status }) => status.phase === "Running")) return;
    if (Date.now() > deadline) throw new Error("the sample pods did not start; see `rkl get pods`");
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

function samplePod(nodeName) {
  const script = 'while :; do echo "hello from $POD_NODE"; sleep 5; done';
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: `hello-${nodeName}` },
    spec: {
      nodeName,
      terminationGracePeriodSeconds: 1,
      containers: [
        { name: "hello", command: ["sh", "-c", script], env: [{ name: "POD_NODE", value: nodeName }] },
      ],
    },
  };
}

/** Nodes and pods as people read them. */
async function printCluster(rks) {
  const nodes = JSON.parse(await command(RKS, ["node", "list", "--config", config, "--json"]));
  const running = JSON.parse(await command(RKL, ["get", "pods", "-o", "json", "--socket", rks.socket]));
  const rows = nodes.map((node) => [
    node.name,
    node.status,
    node.certificateSerial.replaceAll(":", "").slice(0, 16),
    node.certificateNotAfter,
    running
      .filter(({ spec }) => spec.nodeName === node.name)
      .map(({ metadata, status }) => `${metadata.name} (${status.phase})`)
      .join(", "),
  ]);
  const table = [["NODE", "STATUS", "CERTIFICATE SERIAL", "EXPIRES", "PODS"], ...rows];
  const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)));
  process.stdout.write("\n");
  for (const row of table) {
    process.stdout.write(
      `${row
        .map((cell, column) => cell.padEnd(widths[column] + 3))
        .join("")
        .trimEnd()}\n`,
    );
  }
  if (nodes.filter(({ status }) => status === "Ready").length !== WORKERS.length) {
    throw new Error("not every node is Ready");
  }
}

async function untilInterrupted(rks) {
  process.stdout.write(`
Try, in another terminal in this folder:
  npx rks node list --config "${config}"
  npx rkl get pods --socket "${rks.socket}"
  npx rkl logs hello-${WORKERS[0]} -f --socket "${rks.socket}"

Ctrl-C stops everything and leaves nothing behind.
`);
  const crash = Promise.race(
    daemons.map((daemon) => daemon.exited.then((how) => `${daemon.name} ended: ${how}`)),
  );
  const how = await Promise.race([aborted(), crash]);
  if (how !== undefined) throw new Error(how);
}

/** Delete the pods, end agents and control plane, remove the folder. Never throws. */
async function cleanUp() {
  step("Cleaning up");
  const socket = join(folder, "rks-data", "rks.sock");
  const quiet = { ignoreInterrupt: true };
  await Promise.allSettled(
    pods.map(async (pod) => command(RKL, ["delete", "pod", pod, "--socket", socket], quiet)),
  );
  await podsGone(socket).catch(() => undefined);
  pods = [];
  for (const daemon of daemons.toReversed()) await daemon.stop();
  rmSync(folder, { recursive: true, force: true });
}

async function podsGone(socket) {
  const deadline = Date.now() + STOP_TIMEOUT_MS;
  while (pods.length > 0 && Date.now() < deadline) {
    const list = await command(RKL, ["get", "pods", "-o", "json", "--socket", socket], {
      ignoreInterrupt: true,
    });
    if (JSON.parse(list).length === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** Run one command to its end; resolves with its stdout, rejects with its stderr. */
async function command(program, args, { ignoreInterrupt = false } = {}) {
  const child = spawn(process.execPath, [program, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const output = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"]) {
    child[stream].setEncoding("utf8").on("data", (chunk) => (output[stream] += chunk));
  }
  const ended = once(child, "close");
  const first = ignoreInterrupt ? await ended : await Promise.race([ended, aborted()]);
  if (first === undefined) {
    child.kill("SIGKILL");
    throw new Error("interrupted");
  }
  const [status] = first;
  if (status === 0) return output.stdout;
  throw new Error(`${program} ${args.join(" ")} failed with exit code ${status}:\n${output.stderr}`);
}

/** Start a program that goes on; its stdout is JSON lines. Ctrl-C does not reach it: it is stopped in order. */
function background(name, program, args, input = "") {
  const child = spawn(process.execPath, [program, ...args], {
    stdio: ["pipe", "pipe", "pipe"],
    detached: true,
  });
  child.stdin.end(input);
  const lines = [];
  const waiting = new Set();
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (chunk) => (stderr = (stderr + chunk).slice(-4000)));
  createInterface({ input: child.stdout }).on("line", (text) => {
    lines.push(JSON.parse(text));
    for (const look of waiting) look();
  });
  const exited = once(child, "close").then(([status, signal]) => {
    const how = `${signal ?? `exit code ${status}`}\n${stderr}`;
    for (const look of waiting) look(how);
    return how;
  });
  const line = async (matches) =>
    new Promise((resolve, reject) => {
      const settle = (done, value) => {
        clearTimeout(timer);
        waiting.delete(look);
        interrupted.signal.removeEventListener("abort", onAbort);
        done(value);
      };
      const look = (how) => {
        const found = lines.find(matches);
        if (found !== undefined) settle(resolve, found);
        else if (how !== undefined) settle(reject, new Error(`${name} ended: ${how}`));
      };
      const onAbort = () => settle(reject, new Error("interrupted"));
      const timer = setTimeout(
        () => settle(reject, new Error(`${name} was not ready in time:\n${stderr}`)),
        READY_TIMEOUT_MS,
      );
      interrupted.signal.addEventListener("abort", onAbort);
      waiting.add(look);
      look(child.exitCode === null && child.signalCode === null ? undefined : "it has exited");
    });
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await exited;
    clearTimeout(timer);
  };
  return { name, line, exited, stop };
}

/** Resolves, with undefined, when the person pressed Ctrl-C. */
async function aborted() {
  if (!interrupted.signal.aborted) await once(interrupted.signal, "abort");
  return undefined;
}
