import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@rk8s/host";
import { silentLogger } from "@rk8s/protocol";
import { expect, test } from "vitest";
import { podRuntimeContract } from "../pod-runtime.contract.js";
import type { ContainerConfig, PodRuntime } from "../pod-runtime.js";
import { openProcessRuntime } from "./process-runtime.js";

const { signal } = new AbortController();
const sh = (script: string): readonly string[] => ["/bin/sh", "-c", script];

async function openTest(): Promise<{
  runtime: PodRuntime;
  folder: string;
  reopen: () => Promise<PodRuntime>;
  dispose: () => Promise<void>;
}> {
  const folder = await mkdtemp(join(tmpdir(), "rkl runtime "));
  const opened: PodRuntime[] = [];
  const reopen = async (): Promise<PodRuntime> => {
    const runtime = await openProcessRuntime({ folder, clock: systemClock, logger: silentLogger });
    opened.push(runtime);
    return runtime;
  };
  const runtime = await reopen();
  const dispose = async (): Promise<void> => {
    for (const { id } of await runtime.listSandboxes()) await runtime.removeSandbox(id);
    for (const each of opened) await each[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, maxRetries: 5 });
  };
  return { runtime, folder, reopen, dispose };
}

podRuntimeContract("process", {
  open: openTest,
  commands: {
    exit: (code) => sh(`exit ${code}`),
    print: (text) => ["/usr/bin/printf", "%s", text],
    run: ["sleep", "600"],
    missing: ["/no/such/program"],
    deaf: sh("trap '' TERM; echo deaf; sleep 600"),
  },
  terminatedExitCode: 143,
});

interface Run {
  readonly runtime: PodRuntime;
  readonly folder: string;
  readonly id: string;
  readonly reopen: () => Promise<PodRuntime>;
}

async function withContainer(
  change: Partial<ContainerConfig>,
  body: (run: Run) => Promise<void>,
): Promise<void> {
  const { runtime, folder, reopen, dispose } = await openTest();
  try {
    const sandbox = { namespace: "default", name: "web", uid: "u-1", attempt: 0, manifest: "{}" };
    const config = {
      name: "main",
      attempt: 0,
      image: undefined,
      command: [],
      args: [],
      workingDir: undefined,
      env: [],
    };
    const id = await runtime.createContainer(await runtime.runSandbox(sandbox), { ...config, ...change });
    await body({ runtime, folder, id, reopen });
  } finally {
    await dispose();
  }
}

async function logOf(runtime: PodRuntime, id: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of runtime.readLogs(id, { follow: true, signal })) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

async function pidOf(folder: string, id: string): Promise<number> {
  return Number((await readFile(join(folder, id.slice(0, 32), id, "pid"), "utf8")).split("\n")[0]);
}

test("a container sees its own variables and nothing of the agent's", async () => {
  process.env["JOIN_TOKEN"] = "rkj1.secret";
  const env = [
    { name: "GREETING", value: "a 'quoted' $(word)\nand a line" },
    { name: "PATH", value: "/bin:/usr/bin" },
  ];
  await withContainer({ command: ["env"], env }, async ({ runtime, id }) => {
    await runtime.startContainer(id);
    const log = await logOf(runtime, id);
    const names = log.split("\n").flatMap((line) => /^([A-Za-z_]+)=/.exec(line)?.[1] ?? []);
    expect(names.toSorted()).toEqual(
      ["GREETING", "HOME", "HOSTNAME", "PATH", "PWD"].filter((n) => names.includes(n)),
    );
    expect(log).toContain("GREETING=a 'quoted' $(word)\nand a line\n");
    expect(log).toContain("HOSTNAME=web\n");
    expect(log).not.toContain("rkj1");
  });
  delete process.env["JOIN_TOKEN"];
});

test("a container's own PATH does not keep its wrapper from working", async () => {
  const env = [{ name: "PATH", value: "/nowhere" }];
  await withContainer({ command: sh("echo out; exit 9"), env }, async ({ runtime, id }) => {
    await runtime.startContainer(id);
    expect(await logOf(runtime, id)).toBe("out\n");
    expect((await runtime.waitContainer(id, { signal })).exitCode).toBe(9);
  });
});

test.each([
  { name: "no command", change: {}, message: 'container "main" has no command' },
  { name: "only args", change: { args: ["true"] }, message: 'container "main" has no command' },
  {
    name: "a program that is not in PATH",
    change: { command: ["no-such-program-here"] },
    message: "no-such-program-here",
  },
  { name: "a folder as program", change: { command: ["/tmp"] }, message: '"/tmp"' },
  { name: "a file that may not be executed", change: { command: ["/etc/passwd"] }, message: '"/etc/passwd"' },
  {
    name: "no such working directory",
    change: { command: ["true"], workingDir: "/no/where" },
    message: '"/no/where"',
  },
  {
    name: "an argument that is too long",
    change: { command: ["true", "x".repeat(131_072)] },
    message: "could not be started",
  },
])("$name is refused with the container's name or the value", async ({ change, message }) => {
  await withContainer(change, async ({ runtime, id }) => {
    await expect(runtime.startContainer(id)).rejects.toMatchObject({
      code: "RUNTIME_FAILED",
      message: expect.stringContaining(message) as string,
    });
    const ended = await runtime.waitContainer(id, { signal });
    expect(ended).toMatchObject({ exitCode: 128, reason: "StartError" });
    expect(ended.message).toContain(message);
  });
});

test("arguments arrive as they are written", async () => {
  const args = ["", " a  b ", "$HOME", "'\"`\\", "*", "ü\n", "-n"];
  await withContainer({ command: ["/usr/bin/printf", "<%s>"], args }, async ({ runtime, id }) => {
    await runtime.startContainer(id);
    expect(await logOf(runtime, id)).toBe(args.map((arg) => `<${arg}>`).join(""));
  });
});

test("a container works in its own folder or the one it names", async () => {
  await withContainer({ command: ["pwd"], workingDir: "/usr" }, async ({ runtime, id }) => {
    await runtime.startContainer(id);
    expect(await logOf(runtime, id)).toBe("/usr\n");
  });
  await withContainer({ command: sh('[ "$PWD" = "$HOME" ] && ls -a && umask') }, async ({ runtime, id }) => {
    await runtime.startContainer(id);
    expect(await logOf(runtime, id)).toBe(".\n..\n0022\n");
  });
});

test.each([
  { signalName: "SIGKILL", exitCode: 137 },
  { signalName: "SIGSEGV", exitCode: 139 },
  { signalName: "SIGINT", exitCode: 130 },
  { signalName: "SIGPIPE", exitCode: 141 },
])("a container that dies of $signalName exits with $exitCode", async ({ signalName, exitCode }) => {
  await withContainer(
    { command: sh(`kill -s ${signalName.slice(3)} $$; sleep 9`) },
    async ({ runtime, id }) => {
      await runtime.startContainer(id);
      expect((await runtime.waitContainer(id, { signal })).exitCode).toBe(exitCode);
    },
  );
});

test("what a container leaves in the background ends with it", async () => {
  await withContainer({ command: sh("sleep 600 & echo $!; exit 4") }, async ({ runtime, id }) => {
    await runtime.startContainer(id);
    expect((await runtime.waitContainer(id, { signal })).exitCode).toBe(4);
    const child = Number(await logOf(runtime, id));
    expect(child).toBeGreaterThan(1);
    await expect.poll(() => isRunning(child)).toBe(false);
  });
});

test("a stop reaches every process of the container", async () => {
  await withContainer(
    { command: sh("trap 'echo bye; exit 0' TERM; sleep 600 & echo up; wait") },
    async (run) => {
      await run.runtime.startContainer(run.id);
      for await (const chunk of run.runtime.readLogs(run.id, { follow: true, signal })) {
        if (Buffer.from(chunk).toString().includes("up")) break;
      }
      await run.runtime.stopContainer(run.id, 20);
      expect((await run.runtime.waitContainer(run.id, { signal })).exitCode).toBe(0);
      expect(await logOf(run.runtime, run.id)).toBe("up\nbye\n");
    },
  );
});

test("a container that ignores SIGTERM is killed after its grace", async () => {
  await withContainer({ command: sh("trap '' TERM; echo up; sleep 600") }, async ({ runtime, id }) => {
    await runtime.startContainer(id);
    for await (const chunk of runtime.readLogs(id, { follow: true, signal })) if (chunk.length > 0) break;
    await runtime.stopContainer(id, 0.3);
    expect((await runtime.waitContainer(id, { signal })).exitCode).toBe(137);
  });
});

test("a log stays within its bound however much is written", async () => {
  const script = "head -c 50000000 /dev/zero | tr '\\0' x; echo; echo the end";
  await withContainer({ command: sh(script) }, async ({ runtime, folder, id }) => {
    await runtime.startContainer(id);
    expect((await runtime.waitContainer(id, { signal })).exitCode).toBe(0);
    const container = join(folder, id.slice(0, 32), id);
    const sizes = await Promise.all(
      ["log", "log.1"].map(async (name) => (await stat(join(container, name))).size),
    );
    for (const size of sizes) expect(size).toBeLessThanOrEqual(10 * 1024 * 1024);
    const log = await logOf(runtime, id);
    expect(log.length).toBe(sizes[0]! + sizes[1]!);
    expect(log.endsWith("x\nthe end\n")).toBe(true);
  });
});

test("lines are counted across the rotation", async () => {
  await withContainer({ command: sh("seq 1 1500000") }, async ({ runtime, id }) => {
    await runtime.startContainer(id);
    await runtime.waitContainer(id, { signal });
    const chunks: Uint8Array[] = [];
    for await (const chunk of runtime.readLogs(id, { follow: false, tailLines: 700_000, signal }))
      chunks.push(chunk);
    const lines = Buffer.concat(chunks).toString().trimEnd().split("\n");
    expect(lines).toHaveLength(700_000);
    expect(lines[0]).toBe("800001");
    expect(lines.at(-1)).toBe("1500000");
  });
});

test("a log that cannot be written does not stop the container", async () => {
  await withContainer(
    { command: sh("head -c 3000000 /dev/zero; exit 5") },
    async ({ runtime, folder, id }) => {
      // A folder in place of the log fails every write, for root too.
      await mkdir(join(folder, id.slice(0, 32), id, "log"));
      await runtime.startContainer(id);
      expect((await runtime.waitContainer(id, { signal })).exitCode).toBe(5);
    },
  );
});

test("what nobody but the owner may read is not readable by others", async () => {
  await withContainer({ command: sh("echo secret") }, async ({ runtime, folder, id }) => {
    await runtime.startContainer(id);
    await runtime.waitContainer(id, { signal });
    const paths = (await readdir(folder, { recursive: true })).map((path) => join(folder, path));
    for (const path of paths) expect([path, (await stat(path)).mode & 0o077]).toEqual([path, 0]);
  });
});

test("a container whose wrapper and process were killed is found as lost", async () => {
  await withContainer({ command: ["sleep", "600"] }, async ({ runtime, folder, id, reopen }) => {
    await runtime.startContainer(id);
    const pidFile = join(folder, id.slice(0, 32), id, "pid");
    // As after a restart of the host: another boot, and a process that happens to have the same pid.
    const [pid, start] = (await readFile(pidFile, "utf8")).split("\n");
    await writeFile(pidFile, `${process.pid}\n${start}\nanother boot\n`);
    const lost = await (await reopen()).waitContainer(id, { signal });
    expect(lost).toMatchObject({ exitCode: 137, reason: "ContainerStatusUnknown" });
    process.kill(-Number(pid), "SIGKILL");
  });
}, 15_000);

test("a process with the same pid but another start time is left alone", async () => {
  await withContainer({ command: ["sleep", "600"] }, async ({ runtime, folder, id }) => {
    await runtime.startContainer(id);
    const pid = await pidOf(folder, id);
    const pidFile = join(folder, id.slice(0, 32), id, "pid");
    const lines = (await readFile(pidFile, "utf8")).split("\n");
    await writeFile(pidFile, `${pid}\n1 (sh) S ${"1 ".repeat(40)}\n${lines[2]}\n`);
    await runtime.stopContainer(id, 0);
    expect(await isRunning(pid)).toBe(true);
    process.kill(-pid, "SIGKILL");
  });
}, 15_000);

test("half-made sandboxes are cleared away when the runtime is opened", async () => {
  const { folder, runtime, reopen, dispose } = await openTest();
  try {
    const config = { namespace: "default", name: "web", uid: "u-1", attempt: 0, manifest: "{}" };
    const id = await runtime.runSandbox(config);
    await writeFile(join(folder, id, "sandbox.json"), '{"half":');
    await chmod(join(folder, id, "sandbox.json"), 0o600);
    expect(await (await reopen()).listSandboxes()).toEqual([]);
    expect(await readdir(folder)).toEqual(["exits", "wrapper.sh"]);
  } finally {
    await dispose();
  }
});

test.each([
  "../../etc",
  "",
  "0123456789abcdef0123456789abcdef-../x-0",
  "0123456789abcdef0123456789abcdef-x-1\0",
])("container id %j leads nowhere", async (id) => {
  const { runtime, dispose } = await openTest();
  try {
    await expect(runtime.removeContainer(id)).rejects.toMatchObject({ code: "NOT_FOUND" });
  } finally {
    await dispose();
  }
});

/** Zombies, whose parent has not asked for them yet, do not run. */
async function isRunning(pid: number): Promise<boolean> {
  const line = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return line !== "" && !/\) [ZX] /.test(line);
}
