import { type Clock, hex, type Logger, RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { type Certificate, formatName } from "@rk8s/x509";
import type { AuditLog } from "../audit/audit-log.js";
import { audited } from "../audit/audited.js";
import { type JoinTokenRecord, joinTokenRecords, joinTokenState } from "../join/join-token-record.js";
import type { ClusterCa } from "../pki/cluster-ca.js";
import { assertStep, nextStepOf, type RotationStep } from "../pki/cluster-rotation.js";
import type { PreparedRotation } from "../pki/cluster-rotation-change.js";
import { requestPem } from "../pki/cluster-intermediate-request.js";
import {
  type ClusterRoot,
  isOffline,
  phaseOf,
  type RotationPhase,
  rootsOf,
  spkiSha256Of,
} from "../pki/cluster-roots.js";
import { NO_MEMBERS, type StoreMemberBehind, type StoreTrial } from "../store/choose-store.js";
import { Serial } from "../vault/serial.js";
import { assertNamed, type Behind, NOBODY, STORE_REMEDY, storeWarnings } from "./left-behind.js";
import { isNearEnd } from "./near-end.js";
import { expiryWarnings } from "./store-expiry.js";
import { surveyTrust } from "./trust-survey.js";

/** Names in one answer; the numbers beside them count everybody. */
const MAX_NAMES = 1000;
/** What other control planes get to learn of a step before the next one may build on it. */
const SETTLE_MS = 2_000;

/** One of the cluster's roots, for people. */
interface RootSummary {
  readonly number: number;
  readonly standing: ClusterRoot["standing"];
  readonly subject: string;
  /** Hexadecimal digits: what join tokens pin. */
  readonly spkiSha256: string;
  readonly notBefore: string;
  readonly notAfter: string;
  /** Until when it can be verified by the other root alone. */
  readonly crossNotAfter: string | null;
  /** Who signs for it when its key is kept elsewhere, the one that signs now first; empty when it signs itself. */
  readonly intermediates: readonly IntermediateSummary[];
}

interface IntermediateSummary {
  /** `former` ones have signed certificates that still count; what a `tainted` one has signed does not. */
  readonly standing: "active" | "former" | "tainted";
  readonly subject: string;
  readonly serialNumber: string;
  readonly spkiSha256: string;
  readonly notBefore: string;
  readonly notAfter: string;
}

/** Where a rotation stands. */
export interface CaStatus {
  readonly phase: RotationPhase;
  readonly generation: number;
  readonly since: string;
  readonly roots: readonly RootSummary[];
  readonly nodes: number;
  readonly notAcknowledgedCount: number;
  readonly notAcknowledged: readonly string[];
  readonly withOldCertificateCount: number;
  readonly withOldCertificate: readonly string[];
  /** Members of the external store that were tried. */
  readonly storeMembers: number;
  /** Those that would be lost if the root that signs were the only one, as after `retire`. */
  readonly storeMembersBehind: readonly StoreMemberBehind[];
  /** Join tokens that can still be used and pin the root that does not sign. */
  readonly tokensWithOtherPin: number;
  /** What should not be left as it is. */
  readonly warnings: readonly string[];
  /** What to do next. */
  readonly next: string;
}

export interface StepOptions {
  readonly actor: string;
  /** Of the new root; default: the config's. */
  readonly rootTtlSeconds?: number | undefined;
  /** Nodes, and members of the store by their endpoint, that may be left behind. */
  readonly force?: readonly string[] | undefined;
  /** PEM: an intermediate that an offline root has signed, with that root. */
  readonly certificates?: string | undefined;
}

/** A request for an intermediate, to be carried to the offline root. */
export interface IntermediateRequest {
  /** PEM (RFC 2986). */
  readonly csr: string;
}

/** What a step has done. */
export interface StepResult extends CaStatus {
  /** Join tokens that were revoked with it. */
  readonly tokensRevoked: number;
}

export interface CaRotationPorts {
  readonly barrier: Storage;
  readonly clusterCa: ClusterCa;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly joinTokens: { revoke(id: string, options: { readonly actor: string }): Promise<unknown> };
  /** Generation of the roots that the listener serves with. */
  readonly servedGeneration: () => number;
  /** Whether other control planes serve with the same roots. */
  readonly isShared?: (() => boolean) | undefined;
  /**
   * How the members of the external store take what rks shows and trusts when the root that signs is the only one; each is
   * really asked. Default: there are none.
   */
  readonly tryStore?: (() => Promise<StoreTrial>) | undefined;
  /** Called when a step is on disk; when it resolves new connections see the new roots. */
  readonly onChanged: () => Promise<void>;
  /** Called with a node that a step has left behind: its connections must end. */
  readonly onLeftBehind: (nodeName: string) => void;
}

/** Moves the cluster from one root to the next, one step at a time, each one transaction and on record. */
export class CaRotation {
  readonly #rootTtlSeconds: number;
  readonly #ports: CaRotationPorts;
  readonly #serial = new Serial();

  constructor(init: { readonly rootTtlSeconds: number }, ports: CaRotationPorts) {
    this.#rootTtlSeconds = init.rootTtlSeconds;
    this.#ports = ports;
  }

  /** Where the rotation stands and who is behind. Reads every node's record, and asks every member of the store. */
  async status(): Promise<CaStatus> {
    const { clusterCa, clock } = this.#ports;
    const { roots } = clusterCa;
    const now = clock.now();
    const [survey, store] = await Promise.all([surveyTrust(this.#ports, now), this.#tryStore()]);
    const phase = phaseOf(roots);
    const other = roots.other;
    const tokens = other === undefined ? [] : await this.#tokensOf(other);
    return {
      phase,
      generation: roots.generation,
      since: roots.since,
      roots: rootsOf(roots).map(summarizeRoot),
      nodes: survey.total,
      notAcknowledgedCount: survey.notAcknowledged.length,
      notAcknowledged: survey.notAcknowledged.slice(0, MAX_NAMES),
      withOldCertificateCount: survey.withOldCertificate.length,
      withOldCertificate: survey.withOldCertificate.slice(0, MAX_NAMES),
      storeMembers: store.members,
      storeMembersBehind: store.behind,
      tokensWithOtherPin: tokens.length,
      warnings: [
        ...warningsOf(roots.active, now),
        ...storeWarnings(phase, store.behind),
        ...expiryWarnings(store.certificates, now),
      ],
      next:
        phase === "activated" && store.behind.length > 0
          ? `${STORE_REMEDY}; then: ${nextStepOf(roots)}`
          : nextStepOf(roots),
    };
  }

  async #tryStore(): Promise<StoreTrial> {
    return (await this.#ports.tryStore?.()) ?? NO_MEMBERS;
  }

  /**
   * The request for the next intermediate of an offline root: the same one until its certificate is put in, unless a
   * `fresh` one is wanted, which makes certificates for the one before useless.
   * @throws {RksError} CONFLICT, AUDIT_UNWRITABLE, and as the storage does.
   */
  async request(options: {
    readonly actor: string;
    readonly fresh?: boolean | undefined;
  }): Promise<IntermediateRequest> {
    const { clusterCa, audit } = this.#ports;
    const { actor, fresh: isFresh = false } = options;
    return this.#serial.run(() =>
      audited(audit, { operation: "ca.csr", actor, fields: { fresh: isFresh } }, async () => {
        const prepared = await clusterCa.prepareRequest({ isFresh });
        if (prepared.writes.length > 0) await this.#commit(prepared);
        return { value: { csr: requestPem(prepared.csr) } };
      }),
    );
  }

  /**
   * Take a step. Steps are taken one after another.
   * @throws {RksError} CA_PHASE_INVALID in another phase, and while nodes or members of the store would be left behind that
   * `force` does not name; UNAVAILABLE while the listener does not know the newest roots yet; CONFLICT, AUDIT_UNWRITABLE, and as the
   * storage does.
   */
  async step(step: RotationStep, options: StepOptions): Promise<StepResult> {
    return this.#serial.run(() => this.#step(step, options));
  }

  async #step(step: RotationStep, options: StepOptions): Promise<StepResult> {
    const { clusterCa, audit, onChanged, onLeftBehind } = this.#ports;
    const { actor, rootTtlSeconds = this.#rootTtlSeconds, force = [], certificates } = options;
    assertStep(clusterCa.roots, step);
    this.#assertServed();
    const behind = await this.#behind(step);
    assertNamed(step, behind, force);
    const members = behind.members.map(({ endpoint }) => endpoint);
    const leftBehind = [...behind.nodes, ...members].slice(0, MAX_NAMES);
    const fields = { phase: phaseOf(clusterCa.roots), ...(leftBehind.length === 0 ? {} : { leftBehind }) };
    const generation = await audited(audit, { operation: `ca.${step}`, actor, fields }, async () => {
      const pending = await clusterCa.pendingRequest();
      await this.#commit(clusterCa.prepareRotation(step, { rootTtlSeconds, certificates, pending }));
      await clusterCa.reload();
      const { roots } = clusterCa;
      const [intermediate] = roots.active.intermediates;
      return {
        value: roots.generation,
        fields: {
          generation: roots.generation,
          newPhase: phaseOf(roots),
          activeRoot: roots.active.number,
          ...(intermediate && { activeIntermediate: intermediate.certificate.serialNumber }),
        },
      };
    });
    this.#ports.logger.info("Roots changed", { step, generation, phase: phaseOf(clusterCa.roots) });
    await onChanged();
    if (this.#ports.isShared?.() === true) await this.#ports.clock.sleep(SETTLE_MS);
    for (const name of behind.cannotGoOn) onLeftBehind(name);
    const tokensRevoked = step === "taint" ? await this.revokeTaintedTokens({ actor }) : 0;
    return { ...(await this.status()), tokensRevoked };
  }

  /**
   * Revoke every join token that pins the tainted root; none while there is no such root. They are refused without it
   * too; it is for whoever looks at the list.
   */
  async revokeTaintedTokens(options: { readonly actor: string }): Promise<number> {
    const { other } = this.#ports.clusterCa.roots;
    if (other?.standing !== "tainted") return 0;
    const tokens = await this.#tokensOf(other);
    for (const { id } of tokens) await this.#ports.joinTokens.revoke(id, options);
    return tokens.length;
  }

  async #commit({
    comparisons,
    writes,
    wipe,
  }: Pick<PreparedRotation, "comparisons" | "writes" | "wipe">): Promise<void> {
    try {
      const { succeeded } = await this.#ports.barrier.transaction(comparisons, writes);
      if (!succeeded) {
        await this.#ports.clusterCa.reload();
        throw new RksError("CONFLICT", "the cluster's roots are changing at this moment", {
          suggestion: "Look at `rks ca status`, then try again.",
        });
      }
    } finally {
      wipe();
    }
  }

  /** Certificates of a root that the listener does not know yet would be refused, which ends agents for good. */
  #assertServed(): void {
    const { clusterCa, servedGeneration } = this.#ports;
    if (servedGeneration() === clusterCa.trust().generation) return;
    throw new RksError("UNAVAILABLE", "the listener has not taken the newest roots yet", {
      suggestion: "Try again in a few seconds; the log of rks says what it waits for.",
    });
  }

  /**
   * Who has not followed so far that this step could leave them alone. Whoever only has not acknowledged may trust the new
   * root all the same; a certificate of the root that goes away cannot go on. A root whose time is over leaves nobody
   * behind: its own date has done so. Without a cross-certificate, which an offline root has not signed, whoever has not
   * acknowledged the new root cannot verify what it signs. With the members of the store rks has to go on itself, over
   * connections that will be made when the other root is gone.
   */
  async #behind(step: RotationStep): Promise<Behind> {
    const { clusterCa, clock } = this.#ports;
    const { active, other } = clusterCa.roots;
    if (step === "activate" && isOffline(active) && other?.cross === undefined) {
      const { notAcknowledged } = await surveyTrust(this.#ports, clock.now());
      return { ...NOBODY, nodes: notAcknowledged };
    }
    // What goes away is the outgoing root, the tainted one, or an incoming one that had signed before a rollback.
    const endsRoot = step === "retire" || step === "revoke";
    if (!endsRoot && !(step === "rollback" && phaseOf(clusterCa.roots) === "prepared")) {
      return NOBODY;
    }
    if (other !== undefined && other.certificate.notAfter <= clock.now()) return NOBODY;
    const { notAcknowledged, withOldCertificate } = await surveyTrust(this.#ports, clock.now());
    const all = new Set([...(endsRoot ? notAcknowledged : []), ...withOldCertificate]);
    const { behind } = await this.#tryStore();
    return {
      nodes: [...all].toSorted(),
      members: behind,
      cannotGoOn: withOldCertificate,
    };
  }

  async #tokensOf(root: ClusterRoot): Promise<readonly JoinTokenRecord[]> {
    const { barrier, clusterCa, clock } = this.#ports;
    const pin = hex(root.spkiSha256);
    const tokens: JoinTokenRecord[] = [];
    for await (const { record } of joinTokenRecords(barrier).list()) {
      if (joinTokenState(record, clock.now()) !== "usable") continue;
      if ((record.pin ?? clusterCa.roots.founder) === pin) tokens.push(record);
    }
    return tokens;
  }
}

function summarizeRoot(root: ClusterRoot): RootSummary {
  const { number, standing, certificate, cross, intermediates } = root;
  return {
    number,
    standing,
    ...summarize(certificate),
    crossNotAfter: cross === undefined ? null : new Date(cross.notAfter).toISOString(),
    intermediates: intermediates.map((one, at) => ({
      standing: one.isTainted ? "tainted" : at === 0 ? "active" : "former",
      serialNumber: one.certificate.serialNumber,
      ...summarize(one.certificate),
    })),
  };
}

function summarize(
  certificate: Certificate,
): Pick<RootSummary, "subject" | "spkiSha256" | "notBefore" | "notAfter"> {
  return {
    subject: formatName(certificate.subject),
    spkiSha256: hex(spkiSha256Of(certificate)),
    notBefore: new Date(certificate.notBefore).toISOString(),
    notAfter: new Date(certificate.notAfter).toISOString(),
  };
}

/** A certificate never outlives who signed it: near the end of an intermediate nodes renew ever more often. */
function warningsOf({ intermediates: [present] }: ClusterRoot, now: number): readonly string[] {
  if (present === undefined) return [];
  const { notAfter } = present.certificate;
  if (!isNearEnd(present.certificate, now)) return [];
  const end = `the intermediate certificate ${now < notAfter ? "ends" : "ended"} at ${new Date(notAfter).toISOString()}`;
  return [`${end}: run \`rks ca csr\`, let the root sign it, then \`rks ca renew --certificates FILE\``];
}
