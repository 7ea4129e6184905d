import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runRks, type Transcript } from "./testing/run-rks.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-start-"));
  await writeFile(join(folder, "config.yaml"), 'addr: "127.0.0.1:0"\n');
  await runRks(folder, ["gen", "certs"]);
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

interface Running {
  readonly terminate: () => void;
  readonly hangUp: () => void;
  /** Resolves when stderr has said this. */
  readonly told: (text: string) => Promise<void>;
}

/** Start, do something once it is ready, and end it. */
async function whileRunning(action: (running: Running) => Promise<void>): Promise<Transcript> {
  let said = "";
  let look: () => void = () => undefined;
  let signals = { terminate: (): void => undefined, hangUp: (): void => undefined };
  const told = (text: string): Promise<void> =>
    new Promise((resolve) => {
      look = () => {
        if (said.includes(text)) resolve();
      };
      look();
    });
  const ended = runRks(folder, ["start", "--json"], {
    onStderr: (text) => {
      said += text;
      look();
    },
    onTerminable: (terminate, hangUp) => {
      signals = { terminate, hangUp };
    },
  });
  await Promise.race([told("ready: QUIC"), ended]);
  try {
    await action({ ...signals, told });
  } finally {
    signals.terminate();
  }
  return ended;
}

test("a hang-up opens the audit files anew and ends nothing", async () => {
  const [vaultLog, clusterLog] = [join(folder, "vault.log"), join(folder, "rks-data", "audit.log")];
  const { exit, stderr } = await whileRunning(async ({ hangUp, told }) => {
    const enabled = await runRks(folder, ["audit", "enable", "file", `file_path=${vaultLog}`]);
    expect(enabled).toMatchObject({ exit: 0 });
    for (const file of [vaultLog, clusterLog]) await rename(file, `${file}.1`);
    hangUp();
    await told("Reloaded");
    expect(await readFile(vaultLog, "utf8")).toBe("");
    expect(await readFile(clusterLog, "utf8")).toBe("");
    expect((await runRks(folder, ["status"])).exit).toBe(0);
  });
  expect(exit).toBe(0);
  expect(stderr).toContain("Stopping");
});

test("what an audit device writes to stdout follows the one document of the start", async () => {
  const { exit, stdout } = await whileRunning(async () => {
    expect((await runRks(folder, ["audit", "enable", "stdout"])).exit).toBe(0);
    expect((await runRks(folder, ["read", "sys/mounts"])).exit).toBe(0);
  });
  expect(exit).toBe(0);
  const lines = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { ready?: boolean; type?: string; request?: { path: string } });
  expect(lines[0]).toMatchObject({ ready: true });
  const paths = lines.slice(1).map(({ type, request }) => `${type} ${request?.path}`);
  expect(paths).toContain("request sys/mounts");
  expect(paths).toContain("response sys/mounts");
});
