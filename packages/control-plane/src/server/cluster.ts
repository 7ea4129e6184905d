import { randomBytes, randomUUID } from "node:crypto";
import {
  type Clock,
  type Credentials,
  LIMITS,
  LinkedAbort,
  type Logger,
  RksError,
  type Stream,
  type Transport,
} from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import type { AuditLog } from "../audit/audit-log.js";
import { Enrolment } from "../join/enrolment.js";
import { ProofBudget } from "../join/proof-budget.js";
import { Recovery } from "../recovery/recovery.js";
import { RecoveryEnrolment } from "../recovery/recovery-enrolment.js";
import type { JoinCheck } from "../join/join-check.js";
import { type ActorOption, type CreatedJoinToken, JoinTokenStore } from "../join/join-token-store.js";
import { nodeBanned } from "../nodes/node-certificates.js";
import type { NodeRefusals } from "../nodes/node-refusals.js";
import { NodeAdoption } from "../nodes/adoption.js";
import { NodeRegistry } from "../nodes/node-registry.js";
import { LogRelay } from "../pods/log-relay.js";
import { PodController } from "../pods/pod-controller.js";
import type { ClusterCa } from "../pki/cluster-ca.js";
import { type Sharing, UNSHARED } from "../vault/members/sharing.js";
import type { Stewardship } from "../vault/members/stewardship.js";
import { Promotion } from "../renewal/promotion.js";
import { Renewal } from "../renewal/renewal.js";
import { type Authority, type Policies, type Question } from "./authority.js";
import type { CaRotation, CaRotationPorts } from "../trust/ca-rotation.js";
import type { IntermediateFiles } from "../trust/intermediate-revival.js";
import { Trust } from "../trust/trust.js";
import { BootstrapRoom } from "./bootstrap-room.js";
import type { ClusterFigures } from "./cluster-figures.js";
import { type ClusterMeter, UNCOUNTED } from "./cluster-meter.js";
import type { Conversation, Services } from "./exchange.js";
import { Greetings } from "./greeting.js";
import { OperatorConnections } from "./operator-connections.js";
import { asOperator } from "./operator-request.js";
import { serveCluster, type Serving } from "./quic-server.js";
import { resetKey } from "./reset-key.js";
import { followRevocations } from "./follow-revocations.js";
import { serveStream } from "./serve-stream.js";
import { ServerCertificate } from "./server-certificate.js";

/** How often what is over is forgotten. */
const TIDY_INTERVAL_MS = 3_600_000;

export interface ClusterConfig {
  readonly trustDomain: string;
  readonly nodeTtlSeconds: number;
  readonly serverTtlSeconds: number;
  /** Of roots to come. */
  readonly rootTtlSeconds: number;
  /** Who rotates the root when its time comes: operators alone, or rks as well. */
  readonly rootRotation: "manual" | "auto";
  readonly heartbeatIntervalSeconds: number;
  readonly heartbeatGraceSeconds: number;
}

/** What a cluster is made of. The barrier is unsealed; the cluster ends before it is sealed. */
export interface ClusterInit {
  readonly config: ClusterConfig;
  readonly barrier: Storage;
  readonly clusterCa: ClusterCa;
  /** Of the vault: what operators may. */
  readonly policies: Policies;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Default: node:crypto's. */
  readonly random?: (bytes: number) => Uint8Array;
  /** Default: nothing is counted. */
  readonly meter?: ClusterMeter;
  /** Conditions on who may join, beyond the token's own. */
  readonly joinChecks?: readonly JoinCheck[];
  /** With which other control planes the store is shared. Default: none. */
  readonly sharing?: Sharing;
  /** Called with the roots to trust (DER) when they have changed. */
  readonly onTrust?: ((bundle: readonly Uint8Array[]) => Promise<void>) | undefined;
  /** As `CaRotationPorts`. */
  readonly tryStore?: CaRotationPorts["tryStore"];
  /** Where people leave intermediates of an offline root while nothing is served. */
  readonly intermediateFiles?: IntermediateFiles | undefined;
}

/** Where to serve and under which names. */
export interface ServeOptions {
  readonly host: string;
  readonly port: number;
  /** For the server certificate, besides `rks-cluster`. */
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  /** Called with each certificate that is served, the first one included; the key is wiped afterwards. */
  readonly onCertificate?: ((credentials: Credentials) => void) | undefined;
}

/** The cluster's control: everything that operators, agents and the socket ask of it. */
export interface Cluster {
  readonly joinTokens: Pick<JoinTokenStore, "create" | "list" | "revoke">;
  readonly nodes: Pick<NodeRegistry, "list" | "show" | "evict" | "requireRenewal"> &
    Pick<NodeRefusals, "ban" | "unban"> & {
      /**
       * A token with which the node comes back under a new key.
       * @throws {RksError} NOT_FOUND, NODE_BANNED, and as `joinTokens.create`.
       */
      rejoin(name: string, options: ActorOption): Promise<CreatedJoinToken>;
    };
  /** The cluster's root and its rotation. */
  readonly ca: Pick<CaRotation, "request" | "status" | "step">;
  readonly pods: Pick<PodController, "apply" | "get" | "list" | "delete">;
  /**
   * Serve agents and operators until the signal is aborted.
   * @throws {RksError} UNREACHABLE when the address cannot be used, AUDIT_UNWRITABLE, and as the storage does.
   */
  serve(transport: Transport, options: ServeOptions, signal: AbortSignal): Promise<Serving>;
  /** How the cluster is at this moment. */
  figures(): ClusterFigures;
  /** Answer the one request of a stream as an operator's, for HTTP. Never rejects. */
  serveStream(
    stream: Stream,
    options: { readonly authority: Authority; readonly signal: AbortSignal },
  ): Promise<void>;
  /** Do what an operator asks over HTTP, when the policies allow it. @throws {RksError} as `asOperator`. */
  asOperator<T>(authority: Authority, question: Question, work: () => Promise<T>): Promise<T>;
}

/** Put the cluster's parts together. Nothing runs before `serve`. */
export function createCluster(init: ClusterInit): Cluster {
  const { config, barrier, clusterCa, policies, audit, clock, logger } = init;
  const random = init.random ?? ((bytes: number) => new Uint8Array(randomBytes(bytes)));
  const operators = new OperatorConnections();
  const bootstraps = new BootstrapRoom();
  const { meter = UNCOUNTED, sharing = UNSHARED } = init;
  const { changes, stewardship } = sharing;
  const shared = { barrier, audit, clock, logger, sharing };
  const nodes: NodeRegistry = new NodeRegistry(config, {
    ...shared,
    revocations: clusterCa.revocations,
    onCloneSuspected: (sign) => meter.cloneSuspected(sign),
    onReady: () => pods.placePending(),
    onForgotten: (name) => {
      pods.nodeForgotten(name).catch((reason: unknown) => {
        const { code, message } = RksError.from(reason);
        logger.error("Pods of an evicted node could not be marked", {
          nodeName: name,
          code,
          reason: message,
        });
      });
    },
  });
  const pods: PodController = new PodController({ ...shared, changes, nodes, newUid: randomUUID });
  const joinTokens = new JoinTokenStore({
    ...shared,
    random,
    policies,
    rootSpkiSha256: () => clusterCa.rootSpkiSha256,
    onRevoked: (id) => operators.revoke(id),
  });
  followRevocations(operators, { barrier, changes, logger });
  const budget = new ProofBudget({ clock });
  const enrolment = new Enrolment(config, {
    ...shared,
    issuer: clusterCa,
    budget,
    ...(init.joinChecks === undefined ? {} : { joinChecks: init.joinChecks }),
    onReplaced: (name) => nodes.replaced(name),
  });
  const recovery = new Recovery(config, {
    ...shared,
    issuer: clusterCa,
    budget,
    isConnected: (name) => nodes.isConnected(name),
    onReplaced: (name) => nodes.replaced(name),
    quarantine: (name, seen) => nodes.refusals.quarantine(name, seen),
  });
  const recoveryEnrolment = new RecoveryEnrolment(shared);
  const renewal = new Renewal(config, { ...shared, issuer: clusterCa });
  const promotion = new Promotion({ ...shared, issuer: clusterCa });
  const adoption = new NodeAdoption({
    ...shared,
    certificates: {
      isKnown: (serialNumber) => clusterCa.knows(serialNumber),
      writes: (der) => clusterCa.adoptionWrites(der),
    },
  });
  const { onTrust, tryStore, intermediateFiles } = init;
  const { links } = nodes;
  const follows = { onTrust, tryStore, intermediateFiles };
  const trust = new Trust(config, { ...shared, ...follows, clusterCa, joinTokens, links });
  const { heartbeatIntervalSeconds, heartbeatGraceSeconds } = config;
  const heartbeat = { heartbeatIntervalSeconds, heartbeatGraceSeconds };
  const logs = new LogRelay({ clock });
  const services: Services = {
    enrolment,
    renewal,
    promotion,
    recovery,
    recoveryEnrolment,
    adoption,
    nodes,
    pods,
    trust,
    logs,
    audit,
    clock,
    logger,
    meter,
    random,
    ...heartbeat,
  };
  let served: ServerCertificate | undefined;

  return {
    joinTokens,
    nodes: {
      list: () => nodes.list(),
      show: (name) => nodes.show(name),
      evict: (name, options) => nodes.evict(name, options),
      ban: (name, options) => nodes.refusals.ban(name, options),
      unban: (name, options) => nodes.refusals.unban(name, options),
      requireRenewal: (name, options) => nodes.requireRenewal(name, options),
      rejoin: async (name, options) => {
        const record = await nodes.read(name);
        if (record.banned !== undefined) throw nodeBanned(record);
        return joinTokens.createRejoin(record, options);
      },
    },
    ca: trust.rotation,
    pods,
    async serve(transport, { host, port, dnsNames, ipAddresses, onCertificate }, signal) {
      await pods.open();
      await trust.revive();
      await adoption.load();
      const names = { dnsNames, ipAddresses, ttlSeconds: config.serverTtlSeconds };
      const certificate = new ServerCertificate(names, { ...shared, clusterCa });
      served = certificate;
      trust.serveWith(certificate);
      const { trustDomain } = config;
      const ports = {
        services,
        barrier,
        policies,
        trustDomain,
        bootstraps,
        operators,
        transport,
        resetKey: await resetKey(barrier),
        certificate,
        onCertificate,
      };
      const stop = new LinkedAbort(signal);
      const { signal: inner } = stop;
      const serving = await serveCluster({ host, port }, ports, inner);
      const tidy = tidyForever([() => joinTokens.tidy(), () => enrolment.tidy(), () => clusterCa.tidy()], {
        clock,
        logger,
        stewardship,
        signal: inner,
      });
      const ended = Promise.all(
        [serving.ended, nodes.run(inner), trust.run(inner), tidy].map(async (run) =>
          run.finally(() => stop.abort()),
        ),
      );
      return { address: serving.address, ended: ended.then(() => undefined) };
    },
    figures: () => ({
      nodes: nodes.tally(),
      connections: { node: nodes.links.size, operator: operators.size, bootstrapping: bootstraps.size },
      nodeClockSkewSeconds: nodes.clockSkew(),
      firstNodeCertificateNotAfter: nodes.links.firstCertificateNotAfter(),
      serverCertificateNotAfter: served?.notAfter,
      rootNotAfter: clusterCa.rootNotAfter,
      intermediateNotAfter: clusterCa.intermediateNotAfter,
      firstStoreNotAfter: trust.firstStoreNotAfter(),
      trustGeneration: clusterCa.trust().generation,
      nodesBehindTrust: trust.behind(),
    }),
    async serveStream(stream, { authority, signal }) {
      await serveStream(stream, httpConversation(authority), services, {
        maxMessageBytes: LIMITS.maxMessageBytes,
        signal,
      });
    },
    asOperator: (authority, question, work) => asOperator(authority, question, work, shared),
  };
}

/** Who asks is known from the socket or the token; one stream is one request, without Hello. */
function httpConversation(authority: Authority): Conversation {
  return {
    kind: "operator",
    isGreeted: true,
    actor: authority.actor,
    authority,
    connection: undefined,
    greetings: new Greetings(),
    session: undefined,
    registered() {},
  };
}

async function tidyForever(
  works: readonly (() => Promise<number>)[],
  ports: {
    readonly clock: Clock;
    readonly logger: Logger;
    readonly stewardship: Stewardship;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const { clock, logger, stewardship, signal } = ports;
  while (!signal.aborted) {
    await stewardship.whenHeld(signal);
    if (signal.aborted) return;
    for (const work of works) {
      await work().catch((reason: unknown) => {
        const { code, message } = RksError.from(reason);
        logger.warn("Old records could not be removed", { code, reason: message });
      });
    }
    await clock.sleep(TIDY_INTERVAL_MS, { signal }).catch(() => undefined);
  }
}
