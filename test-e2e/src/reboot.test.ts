import { spawnSync } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { assertDone, Cluster } from "./harness/cluster.js";
import { suiteThatNeeds } from "./harness/needs.js";
import { Daemon, type JsonLine, RKL, type SpawnOptions } from "./harness/process.js";
import { SoftwareTpm } from "../../packages/agent/src/testing/software-tpm.js";

/** Most of it is Node starting up, several times a test. */
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start();
});
afterAll(async () => {
  await cluster[Symbol.asyncDispose]();
});

interface Boot extends SpawnOptions {
  readonly folder?: string;
  /** What the unit file still passes. */
  readonly token?: string;
  readonly args: readonly string[];
}

/** Start the agent of a machine. Without a token it is told nothing but where its data folder is. */
function boot(name: string, { folder = name, token, args, ...options }: Boot): Daemon {
  const dataFolder = join(cluster.folder, folder);
  const joining =
    token === undefined
      ? []
      : ["--node-name", name, "--rks-address", cluster.address, "--join-token-file", "-"];
  const words = ["pod", "daemon", "--data-dir", dataFolder, "--json", ...joining, ...args];
  return new Daemon(RKL, words, { ...options, ...(token === undefined ? {} : { stdin: `${token}\n` }) });
}

/** The power fails: supervisor and worker are gone at once. */
async function powerFailure(agent: Daemon): Promise<void> {
  const children = await readFile(`/proc/${agent.pid}/task/${agent.pid}/children`, "utf8");
  for (const pid of [agent.pid, ...children.trim().split(" ").filter(Boolean).map(Number)]) {
    process.kill(pid, "SIGKILL");
  }
  await agent.exited;
}

async function mint(name: string, args: readonly string[] = []): Promise<string> {
  return (await cluster.mintToken(["--node", name, ...args])).token;
}

async function show(name: string): Promise<JsonLine & { readonly recovery: JsonLine }> {
  const result = await cluster.rks(["node", "show", name, "--config", cluster.configFile, "--json"]);
  return JSON.parse(assertDone(result).stdout) as JsonLine & { readonly recovery: JsonLine };
}

/** A host key as OpenSSH makes it at installation. */
function aHostKey(name: string): string {
  const path = join(cluster.folder, `${name}-ssh_host_ed25519_key`);
  const { status, stderr, error } = spawnSync("ssh-keygen", ["-q", "-N", "", "-t", "ed25519", "-f", path]);
  if (status !== 0) throw new Error(`ssh-keygen: ${error?.message ?? stderr.toString()}`);
  return path;
}

function byHostKey(path: string): readonly string[] {
  return ["--recovery", "ssh-host-key", "--ssh-host-key", path];
}

const NO_KEY = ["--recovery", "none"];

describe("after a power failure", () => {
  test("a node comes back by its SSH host key, with no token and with the used one of its unit file", async () => {
    const args = byHostKey(aHostKey("ssh-1"));
    const token = await mint("ssh-1");
    const first = boot("ssh-1", { token, args });
    expect(await first.event("recovery")).toMatchObject({ by: "ssh-host-key" });
    const before = await show("ssh-1");
    await powerFailure(first);

    const second = boot("ssh-1", { args });
    expect(await second.event("recovered")).toMatchObject({ node: "ssh-1" });
    await second.event("registered");
    const after = await show("ssh-1");
    expect(after).toMatchObject({ uid: before["uid"], joinedAt: before["joinedAt"] });
    expect(after["certificateSerial"]).not.toBe(before["certificateSerial"]);
    expect(after.recovery).toMatchObject({
      kind: "ssh-host-key",
      sequence: 1,
      past: [{ kind: "ssh-host-key" }],
    });
    await powerFailure(second);

    await using third = boot("ssh-1", { token, args });
    await third.event("recovered");
    await third.event("registered");
    expect(third.lines.filter(({ event }) => event === "joined")).toEqual([]);
    expect((await show("ssh-1")).recovery).toMatchObject({ sequence: 2 });
  });

  test("a node comes back by its TPM, which was off as well", async () => {
    const state = await mkdtemp(join(cluster.folder, "tpm-"));
    const args = ["--recovery", "tpm"];
    const tokens = await mint("tpm-1");
    {
      await using device = await SoftwareTpm.start(state);
      const agent = boot("tpm-1", { token: tokens, args, env: { TPM2TOOLS_TCTI: device.tcti } });
      expect(await agent.event("recovery")).toMatchObject({ by: "tpm" });
      await powerFailure(agent);
    }
    await using device = await SoftwareTpm.start(state);
    await using agent = boot("tpm-1", { args, env: { TPM2TOOLS_TCTI: device.tcti } });
    expect(await agent.event("recovered")).toMatchObject({ node: "tpm-1" });
    await agent.event("registered");
  });

  test("a node without a way back says so once, with the command that helps, and ends with 77", async () => {
    const agent = boot("lost-1", { token: await mint("lost-1"), args: NO_KEY });
    expect(await agent.event("recovery")).toMatchObject({ by: "no" });
    await powerFailure(agent);

    await using again = boot("lost-1", { args: NO_KEY });
    expect(await again.exited).toBe(77);
    expect(again.lines.filter(({ event }) => event === "error")).toMatchObject([
      { code: "IDENTITY_LOST", suggestion: expect.stringContaining("rks node rejoin lost-1") },
    ]);
    const rejoin = await cluster.rks(["node", "rejoin", "lost-1", "--config", cluster.configFile, "--json"]);
    const { token } = JSON.parse(assertDone(rejoin).stdout) as { readonly token: string };
    await using back = boot("lost-1", { token, args: NO_KEY });
    await back.event("registered");
  });

  test("the data folder has no key, no certificate and no token, only what everybody may know", async () => {
    const token = await mint("facts-1");
    await using agent = boot("facts-1", { token, args: byHostKey(aHostKey("facts-1")) });
    await agent.event("recovery");
    const folder = join(cluster.folder, "facts-1");
    const file = JSON.parse(await readFile(join(folder, "node.json"), "utf8")) as object;
    expect(Object.keys(file).toSorted()).toEqual(
      ["grantsLeft", "nodeName", "rksAddress", "rootPins", "sequence", "version"].toSorted(),
    );
    for (const name of await readdir(folder, { recursive: true })) {
      const bytes = await readFile(join(folder, name)).catch(() => Buffer.alloc(0));
      expect(bytes.includes("PRIVATE KEY")).toBe(false);
      expect(bytes.includes("CERTIFICATE")).toBe(false);
      expect(bytes.includes("rkj1.")).toBe(false);
    }
  });

  test("a damaged node.json is said to be so, and left as it is", async () => {
    const folder = join(cluster.folder, "damaged-1");
    await mkdir(folder, { mode: 0o700 });
    await writeFile(join(folder, "node.json"), '{"version":1,"nodeN');
    await using agent = boot("damaged-1", { args: ["--rks-address", cluster.address, ...NO_KEY] });
    expect(await agent.exited).toBe(78);
    expect(agent.lines.at(-1)).toMatchObject({ event: "error", code: "CONFIG_INVALID" });
    expect(await readFile(join(folder, "node.json"), "utf8")).toBe('{"version":1,"nodeN');
  });
});

describe("a grant", () => {
  test("brings a node back as often as the token said, and no more", async () => {
    const token = await mint("grant-1", ["--recoveries", "1", "--recovery-window", "1h"]);
    const agent = boot("grant-1", { token, args: NO_KEY });
    expect(await agent.event("recovery")).toMatchObject({ by: "grant" });
    expect(await agent.stop()).toBe(0);

    const second = boot("grant-1", { args: NO_KEY });
    await second.event("recovered");
    await second.event("registered");
    expect((await show("grant-1")).recovery).toMatchObject({ grant: { recoveries: 1, left: 0 } });
    expect(await second.stop()).toBe(0);

    await using third = boot("grant-1", { args: NO_KEY });
    expect(await third.exited).toBe(77);
    expect(third.lines.at(-1)).toMatchObject({
      code: "IDENTITY_LOST",
      message: expect.stringContaining("used up"),
    });
  });
});

describe("two users of one identity", () => {
  test("a copy of the machine and the machine itself are both refused until the operator decides", async () => {
    const args = byHostKey(aHostKey("cloned-1"));
    const original = boot("cloned-1", { token: await mint("cloned-1"), args });
    await original.event("recovery");
    await powerFailure(original);
    const ignorePods = { recursive: true, filter: (path: string) => !path.endsWith(".sock") };
    await cp(join(cluster.folder, "cloned-1"), join(cluster.folder, "cloned-1-copy"), ignorePods);

    await using copy = boot("cloned-1", { folder: "cloned-1-copy", args });
    await copy.event("recovered");
    await copy.event("registered");
    await using machine = boot("cloned-1", { args });
    expect(await machine.exited).toBe(77);
    expect(machine.lines.at(-1)).toMatchObject({
      code: "IDENTITY_CLONED",
      suggestion: expect.stringContaining("rks node rejoin cloned-1"),
    });
    expect(await copy.exited).toBe(77);
    expect(copy.lines.at(-1)).toMatchObject({ code: "IDENTITY_CLONED" });
    expect(await show("cloned-1")).toMatchObject({ status: "Banned" });

    const rejoin = await cluster.rks([
      "node",
      "rejoin",
      "cloned-1",
      "--config",
      cluster.configFile,
      "--json",
    ]);
    const { token } = JSON.parse(assertDone(rejoin).stdout) as { readonly token: string };
    await using back = boot("cloned-1", { token, args });
    await back.event("registered");
  });
});

suiteThatNeeds(["root", "linux"], "another machine", () => {
  test("with the same SSH host key and data folder does not come back as the node", async () => {
    const args = byHostKey(aHostKey("moved-1"));
    const agent = boot("moved-1", { token: await mint("moved-1"), args });
    await agent.event("recovery");
    await powerFailure(agent);

    const machineId = join(cluster.folder, "machine-id");
    await writeFile(machineId, "0123456789abcdef0123456789abcdef\n");
    const mount = `mount --bind ${machineId} /etc/machine-id && exec "$@"`;
    const prefix = ["unshare", "--mount", "sh", "-c", mount, "sh"];
    await using other = boot("moved-1", { args, prefix });
    expect(await other.exited).toBe(77);
    expect(other.lines.at(-1)).toMatchObject({
      code: "IDENTITY_LOST",
      message: expect.stringContaining("machine id differs"),
    });
    await using same = boot("moved-1", { args });
    await same.event("recovered");
  });
});
