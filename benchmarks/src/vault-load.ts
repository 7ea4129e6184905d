import { type Figure, median, percentile } from "./report.js";
import type { VaultConnection, VaultServer } from "./vault-server.js";

/** One request of a load; the number makes names different from one another. */
export type Work = (connection: VaultConnection, index: number) => Promise<unknown>;

export interface Load {
  readonly benchmark: string;
  readonly measure: string;
  readonly clients: number;
  /** Requests altogether; the first tenth only warms up. */
  readonly requests: number;
  readonly work: Work;
}

/** Send requests from so many clients, each one after another; gives requests/s and p50/p99. */
export async function underLoad(server: VaultServer, load: Load): Promise<Figure[]> {
  const { benchmark, clients, requests, work } = load;
  const connections = Array.from({ length: clients }, () => server.connect());
  try {
    await spread(connections, Math.ceil(requests / 10), (connection, index) => work(connection, -1 - index));
    const cpuBefore = server.cpuMs;
    const begun = performance.now();
    const latencies = await spread(connections, requests, work);
    const seconds = (performance.now() - begun) / 1000;
    const measure = `${load.measure}, ${clients} ${clients === 1 ? "client" : "clients"}`;
    const figure = (what: string, value: number, unit: string): Figure => ({
      benchmark,
      subject: server.name,
      measure: `${measure}${what}`,
      value,
      unit,
    });
    return [
      figure("", requests / seconds, "1/s"),
      figure(", p50", median(latencies), "ms"),
      figure(", p99", percentile(latencies, 0.99), "ms"),
      ...(cpuBefore === undefined || server.cpuMs === undefined
        ? []
        : [figure(", CPU each", ((server.cpuMs - cpuBefore) / requests) * 1000, "µs")]),
    ];
  } finally {
    for (const connection of connections) await connection[Symbol.asyncDispose]();
  }
}

/** Do `count` pieces of work over the connections; gives how long each took, in milliseconds. */
export async function spread(
  connections: readonly VaultConnection[],
  count: number,
  work: Work,
): Promise<number[]> {
  const latencies: number[] = [];
  let next = 0;
  await Promise.all(
    connections.map(async (connection) => {
      for (let index = next++; index < count; index = next++) {
        const begun = performance.now();
        await work(connection, index);
        latencies.push(performance.now() - begun);
      }
    }),
  );
  return latencies;
}
