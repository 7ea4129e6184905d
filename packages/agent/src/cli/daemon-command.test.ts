import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CliIo } from "@rk8s/host/cli-io";
import { formatJoinToken, Secret } from "@rk8s/protocol";
import { afterEach, beforeEach, expect, test } from "vitest";
import { main } from "./main.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rkl-daemon-"));
  const token = {
    id: "0123456789abcdef",
    seed: new Secret(new Uint8Array(32)),
    rootSpkiSha256: new Uint8Array(32),
  };
  await writeFile(join(folder, "token"), formatJoinToken(token));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

interface Daemon {
  readonly lines: string[];
  readonly talk: string[];
  readonly exits: number[];
  signal(name: string): void;
  crash(reason: unknown): void;
  readonly ended: Promise<number>;
  /** Resolves when the first event is out. */
  readonly begun: Promise<void>;
}

/** A daemon whose control plane is not there: port 9 of this host takes no QUIC. */
function start(...flags: readonly string[]): Daemon {
  const lines: string[] = [];
  const talk: string[] = [];
  const exits: number[] = [];
  let onSignal: (signal: string) => void = () => undefined;
  let onCrash: (reason: unknown) => void = () => undefined;
  let begin: () => void = () => undefined;
  const begun = new Promise<void>((resolve) => (begin = resolve));
  const watch = { [Symbol.dispose]: () => undefined };
  const io: CliIo = {
    cwd: folder,
    env: { PATH: "/usr/bin:/bin" },
    stdin: (async function* () {})(),
    stdout: (text) => {
      lines.push(text);
      begin();
    },
    stderr: (text) => {
      talk.push(text);
      if (/Z trying again/.test(text)) begin();
    },
    onTerminate: (listener) => ((onSignal = listener), watch),
    writeStdout: () => Promise.resolve(),
    onCrash: (listener) => ((onCrash = listener), watch),
    onStdoutClosed: () => watch,
    exit: (code) => void exits.push(code),
  };
  const argv = [
    "pod",
    "daemon",
    "--rks-address",
    "127.0.0.1:9",
    "--join-token-file",
    "token",
    "--data-dir",
    "data",
  ];
  const ended = main([...argv, ...flags], io);
  return {
    lines,
    talk,
    exits,
    begun,
    ended,
    signal: (name) => onSignal(name),
    crash: (reason) => onCrash(reason),
  };
}

test("a daemon that reaches nobody keeps trying and says so, line by line, until it is told to stop", async () => {
  const daemon = start("--json", "--node-name", "worker-1");
  await daemon.begun;
  daemon.signal("SIGTERM");
  expect(await daemon.ended).toBe(0);
  const events = daemon.lines.map(
    (line) => JSON.parse(line) as { event: string; time: string; code?: string },
  );
  expect(events[0]).toMatchObject({ event: "reconnecting", attempt: 1, code: "UNREACHABLE" });
  expect(events.at(-1)).toMatchObject({ event: "stopped" });
  for (const { time } of events) expect(time).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  expect(daemon.exits).toEqual([]);
  expect(await readdir(join(folder, "data"))).toEqual(["pods"]);
});

test("without --json events are text on stderr", async () => {
  const daemon = start();
  await daemon.begun;
  daemon.signal("SIGINT");
  expect(await daemon.ended).toBe(0);
  expect(daemon.lines).toEqual([]);
  expect(daemon.talk.at(-1)).toMatch(/Z stopped; pods go on running\n$/);
});

test("a second signal ends the process at once", async () => {
  const daemon = start();
  await daemon.begun;
  daemon.signal("SIGINT");
  daemon.signal("SIGINT");
  expect(daemon.exits).toEqual([130]);
  await daemon.ended;
});

test("what nothing caught is reported as INTERNAL and ends with 70", async () => {
  const daemon = start("--json");
  await daemon.begun;
  daemon.crash(new TypeError("a bug"));
  expect(daemon.exits).toEqual([70]);
  expect(JSON.parse(daemon.lines.at(-1)!)).toMatchObject({ event: "error", code: "INTERNAL" });
  expect(daemon.talk.join("")).toContain("TypeError: a bug");
  daemon.signal("SIGTERM");
  await daemon.ended;
});
