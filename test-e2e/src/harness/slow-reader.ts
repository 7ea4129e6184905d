import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { aPodManifest } from "@rk8s/protocol/testing";
import { applyPod } from "./ask-rks.js";
import { Cluster } from "./cluster.js";
import { eventually } from "./eventually.js";
import { RKL } from "./process.js";

const LINES = 700_000;
/** Longer than a command lives that waits for nobody. */
const LATE_MS = 3000;

/** What a slow reader of a log got. */
export interface SlowReading {
  /** Of the command that read. */
  readonly status: number | null;
  /** Whether every byte came, once and in order. */
  readonly isWhole: boolean;
  readonly seconds: number;
  /** Of the node's certificate while it was read. */
  readonly renewals: number;
  /** The same as one JSON document, for a reader who comes when the command is over. */
  readonly lateDocument: { readonly status: number | null; readonly lines: number };
}

/** Read a log of almost five megabytes, which has an end, while the certificates of its node come and go. */
export async function readLogSlowly(story: {
  readonly nodeTtlSeconds: number;
  readonly bytesPerSecond: number;
}): Promise<SlowReading> {
  await using cluster = await Cluster.start({ certificates: { node_ttl: `${story.nodeTtlSeconds}s` } });
  const agent = await cluster.joinNode("worker-1");
  const command = ["sh", "-c", `seq 1 ${LINES}; sleep 1000`];
  await applyPod(cluster, aPodManifest({ name: "counter", command }));
  const { stdout: whole } = await eventually(
    () => cluster.operator(["logs", "counter"]),
    ({ stdout }) => stdout.endsWith(`\n${LINES}\n`),
  );

  const from = agent.lines.length;
  const slow = await read(cluster, [], (bytes) => (bytes / story.bytesPerSecond) * 1000);
  const renewals = agent.lines.slice(from).filter(({ event }) => event === "renewed").length;
  const late = await read(cluster, ["--json"], () => LATE_MS);
  const { lines } = JSON.parse(late.text) as { readonly lines: readonly string[] };
  return {
    status: slow.status,
    isWhole: slow.text === whole,
    seconds: slow.seconds,
    renewals,
    lateDocument: { status: late.status, lines: lines.length },
  };
}

/** Read what `rkl logs` prints; `dueMs` says when so many bytes may have been read. */
async function read(
  cluster: Cluster,
  flags: readonly string[],
  dueMs: (bytes: number) => number,
): Promise<{ readonly status: number | null; readonly text: string; readonly seconds: number }> {
  const begun = performance.now();
  const child = spawn(process.execPath, [RKL, "logs", "counter", "--socket", cluster.socket, ...flags], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const closed = once(child, "close");
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    await sleep(Math.max(0, begun + dueMs(bytes) - performance.now()));
  }
  const [status] = (await closed) as [number | null];
  return { status, text: Buffer.concat(chunks).toString(), seconds: (performance.now() - begun) / 1000 };
}
