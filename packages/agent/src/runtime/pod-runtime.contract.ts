import { expect, test } from "vitest";
import type { ContainerConfig, ContainerRecord, PodRuntime, SandboxConfig } from "./pod-runtime.js";

/** How an adapter is put to the test. Commands are the adapter's own way of saying the same. */
export interface PodRuntimeHarness {
  /** A new, empty runtime. `reopen` is a second one on the same state, as after a crash of the agent. */
  open(): Promise<{
    readonly runtime: PodRuntime;
    reopen(): Promise<PodRuntime>;
    readonly dispose: () => Promise<void>;
  }>;
  readonly commands: {
    exit(code: number): readonly string[];
    print(text: string): readonly string[];
    readonly run: readonly string[];
    readonly missing: readonly string[];
    /** Writes something once it ignores SIGTERM. */
    readonly deaf: readonly string[];
  };
  /** Exit code of `run` after a stop with grace. */
  readonly terminatedExitCode: number;
}

/** Run every rule of the `PodRuntime` port against an adapter. */
export function podRuntimeContract(name: string, harness: PodRuntimeHarness): void {
  const { commands } = harness;
  const { signal } = new AbortController();
  type Opened = Awaited<ReturnType<PodRuntimeHarness["open"]>>;
  const rule = (title: string, body: (runtime: PodRuntime, opened: Opened) => Promise<void>): void => {
    // oxlint-disable-next-line vitest/expect-expect -- the bodies assert
    test(`${name}: ${title}`, async () => {
      const opened = await harness.open();
      try {
        await body(opened.runtime, opened);
      } finally {
        await opened.dispose();
      }
    });
  };

  const start = async (
    runtime: PodRuntime,
    command: readonly string[],
    sandbox = aSandbox(),
  ): Promise<string> => {
    const sandboxId = await runtime.runSandbox(sandbox);
    const id = await runtime.createContainer(sandboxId, aContainer({ command }));
    await runtime.startContainer(id);
    return id;
  };
  const recordOf = async (runtime: PodRuntime, id: string): Promise<ContainerRecord> => {
    const record = (await runtime.listContainers()).find((each) => each.id === id);
    if (record === undefined) throw new Error(`container ${id} is not listed`);
    return record;
  };

  rule("a sandbox is listed with all it was made of", async (runtime) => {
    const config = aSandbox({ manifest: '{"kind":"Pod"}' });
    const id = await runtime.runSandbox(config);
    const sandboxes = await runtime.listSandboxes();
    expect(sandboxes).toHaveLength(1);
    expect(sandboxes[0]).toMatchObject({ ...config, id, state: "ready" });
  });

  rule("the same uid and attempt give the same sandbox, another attempt another", async (runtime) => {
    const id = await runtime.runSandbox(aSandbox());
    expect(await runtime.runSandbox(aSandbox())).toBe(id);
    expect(await runtime.runSandbox(aSandbox({ attempt: 1 }))).not.toBe(id);
    expect(await runtime.listSandboxes()).toHaveLength(2);
  });

  rule("a container in an unknown sandbox is refused", async (runtime) => {
    const refused = runtime.createContainer("0123456789abcdef0123456789abcdef", aContainer());
    await expect(refused).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  rule("a container is created, runs and is stopped", async (runtime) => {
    const sandboxId = await runtime.runSandbox(aSandbox());
    const id = await runtime.createContainer(sandboxId, aContainer({ command: commands.run }));
    expect(await runtime.createContainer(sandboxId, aContainer({ command: commands.run }))).toBe(id);
    expect(await recordOf(runtime, id)).toMatchObject({
      sandboxId,
      name: "main",
      attempt: 0,
      state: "created",
    });
    await runtime.startContainer(id);
    const running = await recordOf(runtime, id);
    expect(running).toMatchObject({ state: "running", exitCode: undefined, finishedAtMs: undefined });
    expect(running.startedAtMs).toBeTypeOf("number");
    await runtime.stopContainer(id, 5);
    await runtime.stopContainer(id, 5);
    expect(await recordOf(runtime, id)).toMatchObject({
      state: "exited",
      exitCode: harness.terminatedExitCode,
      reason: "Error",
    });
  });

  test.each([
    { code: 0, reason: "Completed" },
    { code: 3, reason: "Error" },
    { code: 255, reason: "Error" },
  ])(`${name}: a command that ends with $code is $reason`, async ({ code, reason }) => {
    const opened = await harness.open();
    try {
      const id = await start(opened.runtime, commands.exit(code));
      const record = await opened.runtime.waitContainer(id, { signal });
      expect(record).toMatchObject({ state: "exited", exitCode: code, reason });
      expect(record.finishedAtMs).toBeTypeOf("number");
      expect(await opened.runtime.waitContainer(id, { signal })).toEqual(record);
    } finally {
      await opened.dispose();
    }
  });

  rule("a stop without grace kills at once", async (runtime) => {
    const id = await start(runtime, commands.run);
    await runtime.stopContainer(id, 0);
    expect((await recordOf(runtime, id)).exitCode).toBe(137);
  });

  rule("a container that ignores SIGTERM is killed by a second stop without grace", async (runtime) => {
    const id = await start(runtime, commands.deaf);
    for await (const chunk of runtime.readLogs(id, { follow: true, signal })) if (chunk.length > 0) break;
    const polite = runtime.stopContainer(id, 600);
    await runtime.stopContainer(id, 0);
    await polite;
    expect((await recordOf(runtime, id)).exitCode).toBe(137);
  });

  rule("a command that cannot be started leaves an exited container", async (runtime) => {
    const sandboxId = await runtime.runSandbox(aSandbox());
    const id = await runtime.createContainer(sandboxId, aContainer({ command: commands.missing }));
    await expect(runtime.startContainer(id)).rejects.toMatchObject({ code: "RUNTIME_FAILED" });
    expect(await runtime.waitContainer(id, { signal })).toMatchObject({
      exitCode: 128,
      reason: "StartError",
    });
  });

  rule("a container is started once", async (runtime) => {
    const id = await start(runtime, commands.run);
    await expect(runtime.startContainer(id)).rejects.toMatchObject({ code: "RUNTIME_FAILED" });
    expect((await recordOf(runtime, id)).state).toBe("running");
  });

  rule("of two starts at the same time one wins", async (runtime) => {
    const sandboxId = await runtime.runSandbox(aSandbox());
    const id = await runtime.createContainer(sandboxId, aContainer({ command: commands.run }));
    const starts = await Promise.allSettled([runtime.startContainer(id), runtime.startContainer(id)]);
    expect(starts.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
    expect((await recordOf(runtime, id)).state).toBe("running");
  });

  rule("waiting ends with the signal's reason", async (runtime) => {
    const id = await start(runtime, commands.run);
    const given = new AbortController();
    const waiting = runtime.waitContainer(id, { signal: given.signal });
    given.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
  });

  rule("logs are what the command wrote", async (runtime) => {
    const id = await start(runtime, commands.print("one\ntwo\nthree"));
    await runtime.waitContainer(id, { signal });
    expect(await text(runtime.readLogs(id, { follow: false, signal }))).toBe("one\ntwo\nthree");
    expect(await text(runtime.readLogs(id, { follow: true, signal }))).toBe("one\ntwo\nthree");
  });

  test.each([
    { tailLines: 0, expected: "" },
    { tailLines: 1, expected: "three\n" },
    { tailLines: 2, expected: "two\nthree\n" },
    { tailLines: 9, expected: "one\ntwo\nthree\n" },
  ])(`${name}: the last $tailLines lines of a log`, async ({ tailLines, expected }) => {
    const opened = await harness.open();
    try {
      const id = await start(opened.runtime, commands.print("one\ntwo\nthree\n"));
      await opened.runtime.waitContainer(id, { signal });
      expect(await text(opened.runtime.readLogs(id, { follow: false, tailLines, signal }))).toBe(expected);
    } finally {
      await opened.dispose();
    }
  });

  rule("following a log ends with the container", async (runtime) => {
    const id = await start(runtime, commands.run);
    const followed = text(runtime.readLogs(id, { follow: true, signal }));
    await runtime.stopContainer(id, 0);
    expect(await followed).toBeTypeOf("string");
  });

  rule("following a log ends when the container is removed", async (runtime) => {
    const id = await start(runtime, commands.run);
    const followed = text(runtime.readLogs(id, { follow: true, signal }));
    await runtime.removeContainer(id);
    expect(await followed).toBeTypeOf("string");
  });

  rule("following a log ends with the signal", async (runtime) => {
    const id = await start(runtime, commands.run);
    const given = new AbortController();
    const followed = text(runtime.readLogs(id, { follow: true, signal: given.signal }));
    given.abort(new Error("enough"));
    await expect(followed).rejects.toThrow("enough");
  });

  rule("two containers of a sandbox have names, exits and logs of their own", async (runtime) => {
    const sandboxId = await runtime.runSandbox(aSandbox());
    const one = await runtime.createContainer(
      sandboxId,
      aContainer({ name: "one", command: commands.print("1") }),
    );
    const two = await runtime.createContainer(
      sandboxId,
      aContainer({ name: "two", command: commands.exit(2) }),
    );
    await Promise.all([runtime.startContainer(one), runtime.startContainer(two)]);
    expect(await runtime.waitContainer(one, { signal })).toMatchObject({ name: "one", exitCode: 0 });
    expect(await runtime.waitContainer(two, { signal })).toMatchObject({ name: "two", exitCode: 2 });
    expect(await text(runtime.readLogs(one, { follow: false, signal }))).toBe("1");
    expect(await text(runtime.readLogs(two, { follow: false, signal }))).toBe("");
  });

  rule("stopping a sandbox kills what runs in it, and is remembered", async (runtime) => {
    const id = await start(runtime, commands.deaf);
    const [sandbox] = await runtime.listSandboxes();
    await runtime.stopSandbox(sandbox!.id);
    await runtime.stopSandbox(sandbox!.id);
    expect((await recordOf(runtime, id)).exitCode).toBe(137);
    expect((await runtime.listSandboxes())[0]?.state).toBe("stopped");
  });

  rule("a removed container and a removed sandbox are gone; removing twice is fine", async (runtime) => {
    const id = await start(runtime, commands.run);
    const [sandbox] = await runtime.listSandboxes();
    await runtime.removeContainer(id);
    await runtime.removeContainer(id);
    expect(await runtime.listContainers()).toEqual([]);
    await expect(runtime.waitContainer(id, { signal })).rejects.toMatchObject({ code: "NOT_FOUND" });
    await start(runtime, commands.run);
    await runtime.removeSandbox(sandbox!.id);
    await runtime.removeSandbox(sandbox!.id);
    expect(await runtime.listContainers()).toEqual([]);
    expect(await runtime.listSandboxes()).toEqual([]);
  });

  rule(
    "after a restart of the agent running and ended containers are found again",
    async (runtime, opened) => {
      const running = await start(runtime, commands.run);
      const ended = await start(runtime, commands.exit(42), aSandbox({ uid: "u-2", name: "other" }));
      await runtime.waitContainer(ended, { signal });
      const again = await opened.reopen();
      expect(await again.listSandboxes()).toHaveLength(2);
      expect(await recordOf(again, running)).toMatchObject({ state: "running" });
      expect(await recordOf(again, ended)).toMatchObject({ state: "exited", exitCode: 42 });
      const waiting = again.waitContainer(running, { signal });
      await again.stopContainer(running, 5);
      expect((await waiting).exitCode).toBe(harness.terminatedExitCode);
    },
  );

  rule("a uid with any characters stays one sandbox", async (runtime) => {
    await runtime.runSandbox(aSandbox({ uid: "../../etc" }));
    await runtime.runSandbox(aSandbox({ uid: "a/b\0c" }));
    expect((await runtime.listSandboxes()).map(({ uid }) => uid).toSorted()).toEqual(["../../etc", "a/b\0c"]);
  });
}

function aSandbox(change: Partial<SandboxConfig> = {}): SandboxConfig {
  return { namespace: "default", name: "web", uid: "u-1", attempt: 0, manifest: "{}", ...change };
}

function aContainer(change: Partial<ContainerConfig> = {}): ContainerConfig {
  return {
    name: "main",
    attempt: 0,
    image: undefined,
    command: [],
    args: [],
    workingDir: undefined,
    env: [],
    ...change,
  };
}

async function text(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let whole = "";
  for await (const chunk of chunks) whole += decoder.decode(chunk, { stream: true });
  return whole + decoder.decode();
}
