import { type Clock, type Logger, RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import type { AuditLog } from "../audit/audit-log.js";
import type { NodeLink, NodeLinks } from "../nodes/node-link.js";
import type { ClusterCa } from "../pki/cluster-ca.js";
import { AutoRotation } from "./auto-rotation.js";
import { CaRotation, type CaRotationPorts } from "./ca-rotation.js";
import { type Sharing, UNSHARED } from "../vault/members/sharing.js";
import { assertIssuerCounts, type IssuerStanding } from "./client-issuer.js";
import { type IntermediateFiles, reviveIntermediate } from "./intermediate-revival.js";
import { StoreExpiry } from "./store-expiry.js";
import { TrustDistribution } from "./trust-distribution.js";

/** What serves with the cluster's certificates. */
export interface RootsFollower {
  /** Generation of the roots that it serves with. */
  readonly generation: number;
  /** Serve with the newest roots; resolves when it does, or when that takes too long. */
  follow(): Promise<void>;
}

export interface TrustPorts extends Pick<CaRotationPorts, "joinTokens" | "tryStore"> {
  readonly barrier: Storage;
  readonly clusterCa: ClusterCa;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly links: Pick<NodeLinks, "current" | "inUse" | "close">;
  /** Called with the roots to trust (DER) when they have changed. */
  readonly onTrust?: ((bundle: readonly Uint8Array[]) => Promise<void>) | undefined;
  readonly intermediateFiles?: IntermediateFiles | undefined;
  /** With which other control planes the roots are shared. Default: none. */
  readonly sharing?: Sharing | undefined;
}

export interface TrustInit {
  /** Of roots to come. */
  readonly rootTtlSeconds: number;
  /** Who takes the steps of a rotation when a root's time comes: operators alone, or rks as well. */
  readonly rootRotation: "manual" | "auto";
}

/** The cluster's roots at work: their rotation, who has followed it, and whose certificate counts meanwhile. */
export class Trust {
  readonly rotation: CaRotation;
  readonly #ports: TrustPorts;
  readonly #distribution: TrustDistribution;
  readonly #auto: AutoRotation | undefined;
  readonly #storeExpiry: StoreExpiry;
  #server: RootsFollower | undefined;

  constructor(init: TrustInit, ports: TrustPorts) {
    this.#ports = ports;
    const { sharing = UNSHARED } = ports;
    const { stewardship } = sharing;
    ports.clusterCa.follow(sharing.changes, () => this.#followed());
    this.#distribution = new TrustDistribution(ports);
    this.#storeExpiry = new StoreExpiry(ports);
    this.rotation = new CaRotation(init, {
      ...ports,
      isShared: () => sharing.members.isShared,
      servedGeneration: () => (this.#server ?? ports.clusterCa.trust()).generation,
      onChanged: () => this.#changed(),
      onLeftBehind: (nodeName) =>
        ports.links.close(
          nodeName,
          "CA_PIN_RETIRED",
          `node "${nodeName}" was left behind by a root rotation`,
        ),
    });
    const { rotation } = this;
    const behind = (): number => this.#distribution.behind();
    this.#auto =
      init.rootRotation === "auto"
        ? new AutoRotation(init, { ...ports, rotation, behind, stewardship })
        : undefined;
  }

  /** How many connected nodes have not acknowledged the newest roots. */
  behind(): number {
    return this.#distribution.behind();
  }

  /** As `StoreExpiry`. */
  firstStoreNotAfter(): number | undefined {
    return this.#storeExpiry.firstNotAfter;
  }

  /**
   * To be called before anything is served: gets over roots that have expired, when rotation is rks' own, and takes in the
   * intermediate that was left for an offline root. Never rejects.
   */
  async revive(): Promise<void> {
    const { rotation } = this;
    const { clusterCa, clock, logger, intermediateFiles: files } = this.#ports;
    await reviveIntermediate({ clusterCa, rotation, files, nowMs: clock.now(), logger });
    await this.#auto?.revive();
  }

  /** Whose configuration has to change with the roots. */
  serveWith(server: RootsFollower): void {
    this.#server = server;
  }

  /** @throws {RksError} as `assertIssuerCounts`. */
  async assertIssuerCounts(leaf: Uint8Array, role: "node" | "operator"): Promise<IssuerStanding> {
    const { clusterCa, sharing = UNSHARED } = this.#ports;
    try {
      return assertIssuerCounts(leaf, role, clusterCa.roots);
    } catch (reason) {
      if (!sharing.members.isShared) throw reason;
      // Another control plane may have put an intermediate in this very moment.
      await clusterCa.reload();
      return assertIssuerCounts(leaf, role, clusterCa.roots);
    }
  }

  /** A node has registered with the roots of a generation. Never rejects. */
  async registered(link: NodeLink, generation: number | undefined): Promise<void> {
    await this.#distribution.registered(link, generation);
  }

  /** Tell nodes of changes until aborted; first, end what a crash has interrupted. */
  async run(signal: AbortSignal): Promise<void> {
    await this.rotation.revokeTaintedTokens({ actor: "rks" }).catch((reason: unknown) => {
      const { code, message } = RksError.from(reason);
      this.#ports.logger.warn("Join tokens of the tainted root could not be revoked", {
        code,
        reason: message,
      });
    });
    await Promise.all([
      this.#distribution.run(signal),
      this.#auto?.run(signal),
      this.#storeExpiry.run(signal),
    ]);
  }

  /** Another control plane has taken a step. */
  #followed(): void {
    this.#changed().catch((reason: unknown) => {
      const { code, message } = RksError.from(reason);
      this.#ports.logger.warn("New roots could not be followed", { code, reason: message });
    });
  }

  /** What fails here is on disk all the same: it is said, and made up for at the next start. */
  async #changed(): Promise<void> {
    const { clusterCa, onTrust, logger } = this.#ports;
    await this.#server?.follow();
    this.#distribution.changed();
    await onTrust?.(clusterCa.trust().bundle).catch((reason: unknown) => {
      const { code, message } = RksError.from(reason);
      logger.error("The file of the roots could not be written", { code, reason: message });
    });
  }
}
