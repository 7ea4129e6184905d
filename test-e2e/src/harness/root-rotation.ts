import type { Cluster } from "./cluster.js";
import { askRks, newToken } from "./ask-rks.js";
import { eventually } from "./eventually.js";
import { LiveAgent } from "./live-agent.js";

/** What `rks ca status --json` prints, as far as tests look. */
export interface CaStatus {
  readonly phase: string;
  readonly generation: number;
  readonly roots: readonly { readonly number: number }[];
  readonly notAcknowledged: readonly string[];
  readonly withOldCertificate: readonly string[];
  readonly storeMembersBehind: readonly { readonly endpoint: string; readonly code: string }[];
  readonly tokensRevoked?: number;
  readonly warnings: readonly string[];
}

export async function caStatus(cluster: Cluster): Promise<CaStatus> {
  return (await askRks(cluster, "GET", "/v1/rk8s/ca")) as CaStatus;
}

/** A step of a rotation, as `rks ca STEP` takes it. @throws {RksError} */
export async function caStep(cluster: Cluster, step: string, body: object = {}): Promise<CaStatus> {
  return (await askRks(cluster, "POST", `/v1/rk8s/ca/${step}`, body)) as CaStatus;
}

/** Until all nodes but these have acknowledged the roots and have a certificate of the one that signs. */
export async function followed(cluster: Cluster, except = ""): Promise<CaStatus> {
  return eventually(
    () => caStatus(cluster),
    ({ notAcknowledged, withOldCertificate }) =>
      [...new Set([...notAcknowledged, ...withOldCertificate])].join() === except,
  );
}

/** How a fleet came through a drill. */
export interface DrillOutcome {
  /** From the taint until nothing of the old root counts. */
  readonly seconds: number;
  readonly tokensRevoked: number | undefined;
  /** What agents said besides that all is well. */
  readonly complaints: readonly unknown[];
}

/** The old root's key is stolen: taint, everybody is issued anew, revoke; with so many agents in this process. */
export async function compromiseDrill(cluster: Cluster, count: number): Promise<DrillOutcome> {
  const { token: joinToken } = await newToken(cluster, { uses: count, ttlSeconds: 3600 });
  const agents: LiveAgent[] = [];
  try {
    for (let at = 0; at < count; at += 20) {
      const batch = Array.from({ length: Math.min(20, count - at) }, (_, i) => `drill-${at + i}`);
      const joined = batch.map(async (nodeName) =>
        LiveAgent.join({ rksAddress: cluster.address, joinToken, nodeName }),
      );
      agents.push(...(await Promise.all(joined)));
    }
    await newToken(cluster);
    const from = performance.now();
    await caStep(cluster, "prepare");
    await followed(cluster);
    const { tokensRevoked } = await caStep(cluster, "taint");
    await followed(cluster);
    await caStep(cluster, "revoke");
    const seconds = (performance.now() - from) / 1000;
    await followed(cluster);
    const isComplaint = ({ event }: { event: string }): boolean =>
      event === "disconnected" || event === "reconnecting" || event === "error";
    return { seconds, tokensRevoked, complaints: agents.flatMap(({ events }) => events.filter(isComplaint)) };
  } finally {
    await Promise.all(agents.map(async (agent) => agent[Symbol.asyncDispose]()));
  }
}
