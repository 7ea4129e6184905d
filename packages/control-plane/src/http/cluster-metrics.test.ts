import { Registry } from "prom-client";
import { expect, test } from "vitest";
import type { ClusterFigures } from "../server/cluster-figures.js";
import { clusterMeter, registerFigures } from "./cluster-metrics.js";

const FIGURES: ClusterFigures = {
  nodes: { Ready: 3, NotReady: 1, Unknown: 0 },
  connections: { node: 4, operator: 1, bootstrapping: 2 },
  nodeClockSkewSeconds: { ahead: 0, behind: 600 },
  firstNodeCertificateNotAfter: 61_000,
  serverCertificateNotAfter: 1_000,
  rootNotAfter: 3_601_000,
  intermediateNotAfter: 1_801_000,
  firstStoreNotAfter: 901_000,
  trustGeneration: 7,
  nodesBehindTrust: 2,
};

test("joins and renewals are counted by type and result", async () => {
  const registry = new Registry();
  const meter = clusterMeter(registry);
  meter.answered("CertificateSign", "done");
  meter.answered("CertificateSign", "JOIN_TOKEN_USED");
  meter.answered("CertificateSign", "JOIN_TOKEN_USED");
  meter.refused("NODE_BANNED");
  meter.cloneSuspected("two processes");
  const text = await registry.metrics();
  expect(text).toContain('rks_messages_total{type="CertificateSign",result="done"} 1');
  expect(text).toContain('rks_messages_total{type="CertificateSign",result="JOIN_TOKEN_USED"} 2');
  expect(text).toContain('rks_connections_refused_total{code="NODE_BANNED"} 1');
  expect(text).toContain('rks_clone_alarms_total{sign="two processes"} 1');
});

test("a scrape reads how the cluster is at that moment", async () => {
  const registry = new Registry();
  registerFigures(registry, { figures: () => FIGURES, now: () => 1_000 });
  const text = await registry.metrics();
  expect(text).toContain('rks_nodes{status="Ready"} 3');
  expect(text).toContain('rks_connections{peer="bootstrapping"} 2');
  expect(text).toContain('rks_node_clock_skew_seconds{direction="behind"} 600');
  expect(text).toContain("rks_node_certificate_first_expiry_seconds 60\n");
  expect(text).toContain("rks_server_certificate_expiry_seconds 0\n");
  expect(text).toContain("rks_root_certificate_expiry_seconds 3600\n");
  expect(text).toContain("rks_intermediate_certificate_expiry_seconds 1800\n");
  expect(text).toContain("rks_store_certificate_first_expiry_seconds 900\n");
  expect(text).toContain("rks_trust_generation 7\n");
  expect(text).toContain("rks_trust_nodes_behind 2\n");
});

test("all gauges of a scrape share one look at the cluster, each scrape has its own", async () => {
  const registry = new Registry();
  let looks = 0;
  registerFigures(registry, { figures: () => ({ ...FIGURES, trustGeneration: ++looks }), now: () => 1_000 });
  expect(await registry.metrics()).toContain("rks_trust_generation 1\n");
  expect(await registry.metrics()).toContain("rks_trust_generation 2\n");
});

test("what is not known is left out: a zero would read as a certificate that expires now", async () => {
  const registry = new Registry();
  let figures: ClusterFigures | undefined = FIGURES;
  registerFigures(registry, { figures: () => figures, now: () => 1_000 });
  await registry.metrics();
  const unknown = { intermediateNotAfter: undefined, firstStoreNotAfter: undefined };
  figures = { ...FIGURES, firstNodeCertificateNotAfter: undefined, ...unknown };
  expect(await registry.metrics()).not.toMatch(
    /^rks_(node_certificate_first|intermediate_certificate|store_certificate_first)_expiry/m,
  );
  figures = undefined;
  expect(await registry.metrics()).not.toMatch(/^rks_/m);
});
