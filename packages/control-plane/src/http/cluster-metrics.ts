import { Counter, Gauge, type Registry } from "prom-client";
import type { ClusterFigures } from "../server/cluster-figures.js";
import type { ClusterMeter } from "../server/cluster-meter.js";

/** Count what the cluster does into the registry. */
export function clusterMeter(registry: Registry): ClusterMeter {
  const messages = new Counter({
    name: "rks_messages_total",
    help: 'Messages of agents and operators answered, by type and result: "done" or the code of the refusal. CertificateSign are joins, CertificateRenew renewals.',
    labelNames: ["type", "result"],
    registers: [registry],
  });
  const refused = new Counter({
    name: "rks_connections_refused_total",
    help: "Connections refused for their certificate, by the code of the refusal.",
    labelNames: ["code"],
    registers: [registry],
  });
  const clones = new Counter({
    name: "rks_clone_alarms_total",
    help: "Signs that a node's identity was copied. An older certificate counts at most once a minute and node.",
    labelNames: ["sign"],
    registers: [registry],
  });
  return {
    answered: (type, result) => messages.inc({ type, result }),
    refused: (code) => refused.inc({ code }),
    cloneSuspected: (sign) => clones.inc({ sign }),
  };
}

/** Let each scrape read how the cluster is; what is not known at that moment is left out. */
export function registerFigures(
  registry: Registry,
  ports: { readonly figures: () => ClusterFigures | undefined; readonly now: () => number },
): void {
  const look = atOnce(ports.figures);
  const read = (figure: (figures: ClusterFigures) => Readonly<Record<string, number>> | undefined) => () => {
    const figures = look();
    return figures === undefined ? {} : (figure(figures) ?? {});
  };
  const secondsLeft = (notAfter: number | undefined): Readonly<Record<string, number>> =>
    notAfter === undefined ? {} : { "": (notAfter - ports.now()) / 1000 };

  gauge(registry, {
    name: "rks_nodes",
    help: "Nodes that were heard of since rks started, by status.",
    label: "status",
    read: read(({ nodes }) => nodes),
  });
  gauge(registry, {
    name: "rks_connections",
    help: "Open QUIC connections, by who is at the other end.",
    label: "peer",
    read: read(({ connections }) => connections),
  });
  gauge(registry, {
    name: "rks_node_clock_skew_seconds",
    help: "How far the clock of a connected node is ahead of this one, or behind it, at most; as the nodes measured.",
    label: "direction",
    read: read(({ nodeClockSkewSeconds }) => ({ ...nodeClockSkewSeconds })),
  });
  gauge(registry, {
    name: "rks_node_certificate_first_expiry_seconds",
    help: "Time until the first certificate of a connected node expires.",
    read: read(({ firstNodeCertificateNotAfter }) => secondsLeft(firstNodeCertificateNotAfter)),
  });
  gauge(registry, {
    name: "rks_server_certificate_expiry_seconds",
    help: "Time until the certificate that rks serves expires.",
    read: read(({ serverCertificateNotAfter }) => secondsLeft(serverCertificateNotAfter)),
  });
  gauge(registry, {
    name: "rks_root_certificate_expiry_seconds",
    help: "Time until the cluster's root certificate expires.",
    read: read(({ rootNotAfter }) => secondsLeft(rootNotAfter)),
  });
  gauge(registry, {
    name: "rks_intermediate_certificate_expiry_seconds",
    help: "Time until the intermediate certificate expires that signs for an offline root.",
    read: read(({ intermediateNotAfter }) => secondsLeft(intermediateNotAfter)),
  });
  gauge(registry, {
    name: "rks_store_certificate_first_expiry_seconds",
    help: "Time until the first certificate of a member of the external store expires, as of the last look, hourly.",
    read: read(({ firstStoreNotAfter }) => secondsLeft(firstStoreNotAfter)),
  });
  gauge(registry, {
    name: "rks_trust_generation",
    help: "Generation of the roots to trust: grows with each step of a root rotation.",
    read: read(({ trustGeneration }) => ({ "": trustGeneration })),
  });
  gauge(registry, {
    name: "rks_trust_nodes_behind",
    help: "Connected nodes that have not acknowledged the newest roots.",
    read: read(({ nodesBehindTrust }) => ({ "": nodesBehindTrust })),
  });
}

/** The same answer for all who ask in one go: a scrape asks for ten gauges, which would each walk over all nodes. */
function atOnce<T>(read: () => T): () => T {
  let answer: { readonly value: T } | undefined;
  return () => {
    if (answer === undefined) {
      answer = { value: read() };
      queueMicrotask(() => (answer = undefined));
    }
    return answer.value;
  };
}

interface GaugeInit {
  readonly name: string;
  readonly help: string;
  /** Name of the one label; none: the only value has the empty key. */
  readonly label?: string;
  readonly read: () => Readonly<Record<string, number>>;
}

function gauge(registry: Registry, { name, help, label, read }: GaugeInit): void {
  const metric = new Gauge({
    name,
    help,
    labelNames: label === undefined ? [] : [label],
    registers: [],
    collect() {
      this.reset();
      // Without labels a reset leaves a zero, which would read as "expires now".
      if (label === undefined) this.remove();
      for (const [value, count] of Object.entries(read())) {
        this.set(label === undefined ? {} : { [label]: value }, count);
      }
    },
  });
  registry.registerMetric(metric);
}
