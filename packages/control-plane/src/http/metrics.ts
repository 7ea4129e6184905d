import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { ClusterFigures } from "../server/cluster-figures.js";
import type { ClusterMeter } from "../server/cluster-meter.js";
import { clusterMeter, registerFigures } from "./cluster-metrics.js";

/** From a cached read to an RSA key. */
const DURATION_BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 2.5, 10];

/** One answered request. No label ever holds what a client chose: routes are patterns, methods are known ones. */
export interface AnsweredRequest {
  readonly listener: "socket" | "https";
  readonly route: string;
  readonly method: string;
  readonly status: number;
  readonly durationMs: number;
}

export interface MetricsPorts {
  /** Whether the vault is sealed and whether agents are served, asked at each scrape. */
  readonly isSealed: () => boolean;
  readonly isServing: () => boolean;
  /** How the cluster is; undefined while it is not served. */
  readonly figures: () => ClusterFigures | undefined;
  /** The wall clock, milliseconds. */
  readonly now: () => number;
}

const NAMES = ["listener", "route", "method", "status"] as const;

/** What Prometheus reads; one for each control plane. */
export class Metrics {
  /** For gauges and counters of others; their labels must be bounded. */
  readonly registry = new Registry();
  /** Counts what the cluster does. */
  readonly meter: ClusterMeter = clusterMeter(this.registry);
  readonly #requests = new Counter({
    name: "rks_http_requests_total",
    help: "Requests answered over HTTP.",
    labelNames: NAMES,
    registers: [this.registry],
  });
  readonly #durations = new Histogram({
    name: "rks_http_request_duration_seconds",
    help: "Time from a request's header to its answer.",
    labelNames: ["listener", "route", "method"],
    buckets: DURATION_BUCKETS_SECONDS,
    registers: [this.registry],
  });
  readonly #open = new Map<string, () => number>();

  constructor(ports: MetricsPorts) {
    const open = this.#open;
    const connections = new Gauge({
      name: "rks_http_connections",
      help: "Open connections.",
      labelNames: ["listener"],
      registers: [],
      collect() {
        for (const [listener, count] of open) this.set({ listener }, count());
      },
    });
    this.registry.registerMetric(connections);
    this.#gauge("rks_vault_sealed", "1 while the vault is sealed.", () => Number(ports.isSealed()));
    this.#gauge("rks_serving", "1 while agents are served.", () => Number(ports.isServing()));
    registerFigures(this.registry, ports);
    this.#gauge("process_resident_memory_bytes", "Resident memory of the process.", () =>
      process.memoryUsage.rss(),
    );
    this.#gauge("process_cpu_seconds_total", "CPU time of the process.", cpuSeconds);
    this.#gauge("process_start_time_seconds", "When the process started, Unix time.", () =>
      Math.round(Date.now() / 1000 - process.uptime()),
    );
  }

  /** The media type of `text`. */
  get contentType(): string {
    return this.registry.contentType;
  }

  /** Everything, in Prometheus' text format. */
  text(): Promise<string> {
    return this.registry.metrics();
  }

  answered({ listener, route, method, status, durationMs }: AnsweredRequest): void {
    this.#requests.inc({ listener, route, method, status });
    this.#durations.observe({ listener, route, method }, durationMs / 1000);
  }

  /** Ask for the number of a listener's connections at each scrape. */
  watchConnections(listener: "socket" | "https", count: () => number): void {
    this.#open.set(listener, count);
  }

  #gauge(name: string, help: string, read: () => number): void {
    const gauge = new Gauge({
      name,
      help,
      registers: [],
      collect() {
        this.set(read());
      },
    });
    this.registry.registerMetric(gauge);
  }
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000_000;
}
