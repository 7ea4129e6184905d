import { type Clock, type Logger, RksError } from "@rk8s/protocol";
import { rootLifeMs } from "../pki/cluster-root.js";
import { CLUSTER_ROLES } from "../pki/cluster-roles.js";
import type { ClusterCa } from "../pki/cluster-ca.js";
import type { RotationStep } from "../pki/cluster-rotation.js";
import { type ClusterRoot, isOffline, phaseOf } from "../pki/cluster-roots.js";
import { ALONE, type Stewardship } from "../vault/members/stewardship.js";
import type { CaRotation, CaStatus } from "./ca-rotation.js";

/** Of the active root's life, what is left when its successor is made. */
const PREPARE_LEFT = 1 / 2;
/** What is left when the successor signs at the latest, whoever has not acknowledged it. */
const ACTIVATE_LEFT = 1 / 4;
/** How often it looks, as a part of the root's life, within bounds. It is also the pause after a refused step. */
const LOOKS_PER_LIFE = 60;
const MIN_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 60_000;
/** Time for nodes to connect and hear of a new root before their silence is taken for absence. */
const SETTLE_PER_LIFE = 1 / 20;
const MAX_SETTLE_MS = 60_000;
/** Who had an operator's certificate of the old root when the new one began to sign has none that lives any more. */
const OPERATORS_MS = CLUSTER_ROLES.operator.maxTtlSeconds * 1000;
/** From both roots expired to one that lives: rollback, prepare, activate. */
const MAX_REVIVAL_STEPS = 4;

export interface AutoRotationPorts {
  readonly clusterCa: Pick<ClusterCa, "roots">;
  readonly rotation: Pick<CaRotation, "status" | "step">;
  /** How many connected nodes have not acknowledged the newest roots. */
  readonly behind: () => number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Whether it is this process that rotates. Default: it is. */
  readonly stewardship?: Stewardship | undefined;
}

/**
 * Takes the steps of a root rotation by itself when their time has come, as an operator would: it forces nothing, and
 * looks at the roots anew before each step, so that an operator may take any of them first. What follows a taint it leaves
 * to the operator, and an offline root and its intermediates too.
 */
export class AutoRotation {
  readonly #rootTtlMs: number;
  readonly #ports: AutoRotationPorts;
  readonly #startedAt: number;
  /** Generation of the roots for which it was said that members of the store are behind. */
  #warnedOf: number | undefined;

  constructor(init: { readonly rootTtlSeconds: number }, ports: AutoRotationPorts) {
    this.#rootTtlMs = init.rootTtlSeconds * 1000;
    this.#ports = ports;
    this.#startedAt = ports.clock.now();
  }

  /** Before anything is served: nothing can be, with a root whose time is over. Never rejects. */
  async revive(): Promise<void> {
    const { clusterCa, clock } = this.#ports;
    for (let steps = 0; steps < MAX_REVIVAL_STEPS; steps++) {
      if (!isOver(clusterCa.roots.active, clock.now())) return;
      await this.look({ isServed: false });
    }
  }

  /** Look and act until aborted. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, clusterCa, logger, stewardship = ALONE } = this.#ports;
    if (isOffline(clusterCa.roots.active)) {
      logger.warn(
        "Root is offline: it is not rotated by itself, and its intermediates are put in by operators",
      );
    }
    while (!signal.aborted) {
      await stewardship.whenHeld(signal);
      if (signal.aborted) return;
      await this.look();
      const pauseMs = Math.max(MIN_PAUSE_MS, Math.min(MAX_PAUSE_MS, this.#lifeMs / LOOKS_PER_LIFE));
      await clock.sleep(pauseMs, { signal }).catch(() => undefined);
    }
  }

  /** Take the step that it is time for, if any. Never rejects. */
  async look({ isServed = true }: { readonly isServed?: boolean } = {}): Promise<void> {
    const { rotation, logger } = this.#ports;
    try {
      const step = await this.#due(isServed);
      if (step !== undefined) await rotation.step(step, { actor: "rks" });
    } catch (reason) {
      const { code, message } = RksError.from(reason);
      // Somebody else took a step, or a node fell behind meanwhile: the next look tells.
      if (code === "CA_PHASE_INVALID") return;
      logger.warn("Root could not be rotated by itself", { code, reason: message });
    }
  }

  /** The step that it is time for. */
  async #due(isServed: boolean): Promise<RotationStep | undefined> {
    const { clusterCa, clock } = this.#ports;
    const { roots } = clusterCa;
    const now = clock.now();
    const left = (roots.active.certificate.notAfter - now) / this.#lifeMs;
    const phase = phaseOf(roots);
    if (phase === "steady" && left <= PREPARE_LEFT && !isOffline(roots.active)) return "prepare";
    if (phase === "prepared" && roots.other !== undefined && isOffline(roots.other)) {
      // Somebody's own root: its hour is theirs, unless nothing can be served without it.
      return isServed || isOver(roots.other, now) ? undefined : "activate";
    }
    if (phase === "prepared") {
      if (!outlives(roots.other, roots.active, now)) return "rollback";
      if (!isServed || this.#mayActivate(left, now)) return "activate";
    }
    if (phase === "activated" && (await this.#mayRetire(roots.other, now))) return "retire";
    return undefined;
  }

  /** When all who are connected trust the new root; or when it is late for the old one. */
  #mayActivate(left: number, now: number): boolean {
    const { clusterCa, behind } = this.#ports;
    const quietSince = Math.max(this.#startedAt, Date.parse(clusterCa.roots.since));
    const settleMs = Math.min(MAX_SETTLE_MS, this.#lifeMs * SETTLE_PER_LIFE);
    return now - quietSince >= settleMs && (left <= ACTIVATE_LEFT || behind() === 0);
  }

  /** When nobody needs the old root any more, no node, no operator, no join token and no member of the store; or when its own time is over. */
  async #mayRetire(old: ClusterRoot | undefined, now: number): Promise<boolean> {
    if (isOver(old, now)) return true;
    const status = await this.#ports.rotation.status();
    if (now - Date.parse(status.since) < OPERATORS_MS) return false;
    if (status.notAcknowledgedCount + status.withOldCertificateCount + status.tokensWithOtherPin > 0)
      return false;
    if (status.storeMembersBehind.length === 0) return true;
    this.#warnOfStore(status);
    return false;
  }

  /** Members of the store follow when somebody brings them certificates, and not before: that is said once. */
  #warnOfStore({ generation, storeMembersBehind: members, next }: CaStatus): void {
    if (this.#warnedOf === generation) return;
    this.#warnedOf = generation;
    this.#ports.logger.warn("The old root stays trusted while members of the store need it", {
      members,
      next,
    });
  }

  /** What counts as a whole life: that of the active root, or a shorter one that its successors will have. */
  get #lifeMs(): number {
    return Math.min(rootLifeMs(this.#ports.clusterCa.roots.active.certificate), this.#rootTtlMs);
  }
}

function isOver(root: ClusterRoot | undefined, now: number): boolean {
  return root !== undefined && root.certificate.notAfter <= now;
}

/** A successor that ends first, or has ended while nobody looked, helps nobody. */
function outlives(successor: ClusterRoot | undefined, active: ClusterRoot, now: number): boolean {
  if (successor === undefined || isOver(successor, now)) return false;
  return successor.certificate.notAfter > active.certificate.notAfter;
}
