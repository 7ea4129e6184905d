import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ALPN, decodeMessage, RksError, SERVER_NAME } from "@rk8s/protocol";
import { parseCertificate } from "@rk8s/x509";
import { framesFromRks } from "./ask-rks.js";
import { assertDone, Cluster } from "./cluster.js";
import { eventually } from "./eventually.js";
import { Daemon, type JsonLine, RKL } from "./process.js";
import { transport } from "./raw-agent.js";
import { caStatus } from "./root-rotation.js";

const NODE = "worker-1";
const POD = "ticker";
/** A line that says how many came before it, twenty times a second, until the file STOP is made. */
const TICKER = `i=0; while [ ! -e STOP ]; do i=$((i+1)); echo "{\\"line\\":$i}"; sleep 0.05; done`;
const REQUEST_EVERY_MS = 100;
const EXPECTED_EVENTS: readonly unknown[] = ["renewed", "trust", "pod"];

/** What is done to the cluster. */
export interface RenewalStory {
  readonly certificates: Readonly<Record<string, string>>;
  readonly seconds: number;
  /** Done to the cluster before rks starts; what it returns is done again and again meanwhile. */
  readonly prepare?: (cluster: Cluster) => Promise<() => Promise<void>>;
  /** How often; default: never. */
  readonly everySeconds?: number;
}

/** What came of it. */
export interface RenewalOutcome {
  /** Certificates that the node had after its first one. */
  readonly generations: number;
  /** Roots that were brought in meanwhile, by rks itself. */
  readonly roots: number;
  /** Different certificates that the control plane was seen with. */
  readonly serverCertificates: number;
  readonly requests: number;
  /** What failed requests were answered, the first ten. */
  readonly failures: readonly string[];
  /** Lines of the pod's log that the follower did not get, or not in order. */
  readonly missedLines: readonly number[];
  readonly lines: number;
  /** What the agent told besides renewals and new roots since it had registered. */
  readonly agentEvents: readonly JsonLine[];
  /** Whether the follower was still there at the end. */
  readonly followerLived: boolean;
  /** The last that the agent logged as warnings and errors. */
  readonly warnings: readonly string[];
}

/** Follow a pod's log and ask its node ten things a second through rks, while certificates come and go. */
export async function renewUnderFire(story: RenewalStory): Promise<RenewalOutcome> {
  await using cluster = await Cluster.create({ certificates: story.certificates });
  const act = await story.prepare?.(cluster);
  await cluster.startControlPlane();
  const agent = await cluster.joinNode(NODE);
  await runTicker(cluster);
  const heard = agent.lines.length;
  await using follower = new Daemon(RKL, ["logs", POD, "-f", "--socket", cluster.socket]);
  await follower.line(() => true);

  const serverSerials = new Set<string>();
  const failures: string[] = [];
  let requests = 0;
  const pending = new Set<Promise<void>>();
  const acts: Promise<void>[] = [];
  const end = performance.now() + story.seconds * 1000;
  for (let next = performance.now(); next < end; next += REQUEST_EVERY_MS) {
    const asked = ask(cluster, failures).finally(() => pending.delete(asked));
    pending.add(asked);
    if (act !== undefined && requests > 0 && requests % ((story.everySeconds ?? Infinity) * 10) === 0) {
      acts.push(act());
    }
    if (requests++ % 10 === 0) serverSerials.add(await serverSerial(cluster));
    await sleep(Math.max(0, next + REQUEST_EVERY_MS - performance.now()));
  }
  await Promise.all([...pending, ...acts]);
  await writeFile(join(cluster.folder, "stop"), "");
  const numbers = follower.lines.map(({ line }) => Number(line));
  const followerLived = follower.isRunning;
  const events = agent.lines.slice(heard);
  const { roots } = await caStatus(cluster);
  return {
    generations: events.filter(({ event }) => event === "renewed").length,
    roots: Math.max(...roots.map(({ number }) => number)) - 1,
    serverCertificates: serverSerials.size,
    requests,
    failures,
    missedLines: numbers.flatMap((line, i) => (i > 0 && line !== numbers[i - 1]! + 1 ? [line] : [])),
    lines: numbers.length,
    agentEvents: events.filter(({ event }) => !EXPECTED_EVENTS.includes(event)),
    followerLived,
    warnings: warningsOf(agent.stderr),
  };
}

function warningsOf(log: string): readonly string[] {
  return log
    .split("\n")
    .filter((line) => /\b(warn|error)\b/i.test(line))
    .slice(-10);
}

async function ask(cluster: Cluster, failures: string[]): Promise<void> {
  try {
    await readLogs(cluster);
  } catch (reason) {
    const { code, message } = RksError.from(reason);
    if (failures.length < 10) failures.push(`${code}: ${message}`);
  }
}

async function runTicker(cluster: Cluster): Promise<void> {
  const manifest = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: POD },
    spec: {
      nodeName: NODE,
      terminationGracePeriodSeconds: 1,
      containers: [
        { name: "main", command: ["sh", "-c", TICKER.replace("STOP", join(cluster.folder, "stop"))] },
      ],
    },
  };
  const file = join(cluster.folder, "ticker.json");
  await writeFile(file, JSON.stringify(manifest));
  assertDone(await cluster.operator(["apply", "-f", file]));
  await eventually(
    () => readLogs(cluster).catch(() => ""),
    (text) => text.includes("line"),
  );
}

/** The last line of the pod's log, from its node through rks. @throws {RksError} what either answers. */
async function readLogs(cluster: Cluster): Promise<string> {
  const [first, ...rest] = await framesFromRks(cluster, {
    type: "GetPodLogs",
    namespace: "default",
    name: POD,
    follow: false,
    tailLines: 1,
  });
  if (first === undefined) throw new RksError("MESSAGE_TRUNCATED", "rks answered nothing");
  let text = "";
  for (const { kind, body } of [first, ...rest]) {
    const message = kind === "message" ? decodeMessage(body) : undefined;
    if (message?.type === "Error") throw RksError.fromWire(message);
    if (message === undefined) text += Buffer.from(body).toString();
  }
  return text;
}

/** Serial number of the certificate that the control plane has now. */
async function serverSerial(cluster: Cluster): Promise<string> {
  const [host, port] = cluster.address.split(":");
  const chain = await transport.probe({
    host: host!,
    port: Number(port),
    alpn: ALPN,
    serverName: SERVER_NAME,
  });
  return parseCertificate(chain[0]!).serialNumber;
}
