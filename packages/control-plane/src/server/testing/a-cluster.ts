import { type ConnectionLimits, silentLogger, type SocketAddress } from "@rk8s/protocol";
import { createMemoryTransport, FakeClock, type MemoryTransport } from "@rk8s/protocol/testing";
import { aClusterCa, TRUST_DOMAIN } from "../../join/testing/a-cluster-ca.js";
import { FaultyStorage } from "../../join/testing/faulty-storage.js";
import { MemoryAudit } from "../../join/testing/memory-audit.js";
import type { JoinTokenRequest } from "../../join/join-token-store.js";
import { CLUSTER_POLICIES } from "../../lifecycle/cluster-policies.js";
import type { ClusterCa } from "../../pki/cluster-ca.js";
import type { Storage } from "@rk8s/storage";
import type { Sharing } from "../../vault/members/sharing.js";
import type { StoreTrial } from "../../store/choose-store.js";
import { PolicyStore } from "../../vault/policy/policy-store.js";
import { type Cluster, type ClusterConfig, createCluster } from "../cluster.js";
import { TestPeer } from "./test-peer.js";

export const actor = { actor: "test" };

/** A cluster in memory that is being served, and the means to reach it. */
export class TestCluster implements AsyncDisposable {
  readonly clock: FakeClock;
  readonly storage: FaultyStorage;
  readonly audit: MemoryAudit;
  readonly transport: MemoryTransport;
  readonly ca: ClusterCa;
  readonly policies: PolicyStore;
  readonly cluster: Cluster;
  readonly address: SocketAddress;
  readonly ended: Promise<void>;
  readonly #stop: AbortController;

  constructor(
    parts: Pick<
      TestCluster,
      "clock" | "storage" | "audit" | "transport" | "ca" | "policies" | "cluster" | "address" | "ended"
    >,
    stop: AbortController,
  ) {
    this.clock = parts.clock;
    this.storage = parts.storage;
    this.audit = parts.audit;
    this.transport = parts.transport;
    this.ca = parts.ca;
    this.policies = parts.policies;
    this.cluster = parts.cluster;
    this.address = parts.address;
    this.ended = parts.ended;
    this.#stop = stop;
  }

  /** Make a token; its text. */
  async token(request: JoinTokenRequest = {}): Promise<string> {
    const { token } = await this.cluster.joinTokens.create(request, actor);
    return token.reveal();
  }

  /** Connect without a certificate. */
  async stranger(): Promise<TestPeer> {
    return TestPeer.dial(this);
  }

  /** Join under a name and connect with the certificate. */
  async node(name: string, limits?: ConnectionLimits): Promise<TestPeer> {
    const identity = await TestPeer.join(this, { token: await this.token(), nodeName: name });
    return TestPeer.dial(this, identity, limits);
  }

  /** Join, connect and register. */
  async registeredNode(name: string, limits?: ConnectionLimits): Promise<TestPeer> {
    const node = await this.node(name, limits);
    await node.hello();
    await node.register();
    return node;
  }

  /** Exchange an operator token for a certificate and connect with it. */
  async operator(policies?: readonly string[]): Promise<TestPeer> {
    const identity = await TestPeer.join(this, {
      token: await this.token({ role: "operator", policies }),
      role: "operator",
    });
    const peer = await TestPeer.dial(this, identity);
    await peer.hello();
    return peer;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Make a cluster and serve it over a memory transport. */
export async function aCluster(
  options: {
    readonly storage?: FaultyStorage;
    readonly clock?: FakeClock;
    readonly ca?: ClusterCa;
    /** Instead of `storage`, which then holds nothing: of a store that is shared. */
    readonly barrier?: Storage;
    readonly sharing?: Sharing;
    readonly config?: Partial<ClusterConfig>;
    /** Default: there is no external store. */
    readonly tryStore?: () => Promise<StoreTrial>;
  } = {},
): Promise<TestCluster> {
  const clock = options.clock ?? new FakeClock();
  const storage = options.storage ?? new FaultyStorage();
  const barrier = options.barrier ?? storage;
  const ca = options.ca ?? (await aClusterCa(barrier, clock));
  const audit = new MemoryAudit();
  const transport = createMemoryTransport();
  const policies = new PolicyStore(barrier);
  await policies.write("operator", CLUSTER_POLICIES["operator"]!);
  const cluster = createCluster({
    config: {
      trustDomain: TRUST_DOMAIN,
      nodeTtlSeconds: 3600,
      serverTtlSeconds: 86_400,
      rootTtlSeconds: 86_400 * 365,
      rootRotation: "manual",
      heartbeatIntervalSeconds: 10,
      heartbeatGraceSeconds: 40,
      ...options.config,
    },
    barrier,
    ...(options.sharing === undefined ? {} : { sharing: options.sharing }),
    tryStore: options.tryStore,
    clusterCa: ca,
    policies,
    audit,
    clock,
    logger: silentLogger,
  });
  const stop = new AbortController();
  const where = { host: "127.0.0.1", port: 0, dnsNames: [], ipAddresses: ["127.0.0.1"] };
  const { address, ended } = await cluster.serve(transport, where, stop.signal);
  return new TestCluster({ clock, storage, audit, transport, ca, policies, cluster, address, ended }, stop);
}
