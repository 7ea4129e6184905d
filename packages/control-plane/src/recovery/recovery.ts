import { createHash } from "node:crypto";
import { type Clock, type Logger, type Message, recoverProofTranscript, RksError } from "@rk8s/protocol";
import { type RecordCollection, type Storage, untilCommitted } from "@rk8s/storage";
import { type CertificateRequest, parseCertificateRequest } from "@rk8s/x509";
import type { AuditEvent, AuditFields, AuditLog } from "../audit/audit-log.js";
import { audited } from "../audit/audited.js";
import type { CertificateIssuer } from "../join/certificate-issuer.js";
import { certificateMessage, recallAnswer, rememberedAnswer } from "../join/certificate-message.js";
import type { ProofBudget } from "../join/proof-budget.js";
import { recordRefusal } from "../join/record-refusal.js";
import { type RepeatAnswer, repeatAnswers } from "../join/repeat-answer.js";
import { KeyedQueue } from "../nodes/keyed-queue.js";
import { identityCloned, nodeIsChanging, serialNumbersOf } from "../nodes/node-certificates.js";
import { type NodeRecord, nodeRecords } from "../nodes/node-record.js";
import { afterRecovery, NO_RECOVERY, recoveryTerms } from "../nodes/node-recovery.js";
import { type RenewalAnswer, renewalAnswers } from "../nodes/renewal-answer.js";
import { proveClusterRequest, type ProvenRequest } from "../pki/cluster-request.js";
import { isProofByRequestKey } from "../renewal/renew-proof.js";
import { DUMMY_RECOVERY_KEY, isRecoveryProof } from "./recovery-key.js";
import {
  isMachineOf,
  notRecovered,
  type RecoverRequest,
  recoveryAnswerName,
  type RecoveryPlan,
  RecoveryPlanner,
  type Returner,
} from "./recovery-plan.js";

export interface RecoveryPorts {
  readonly barrier: Storage;
  readonly issuer: CertificateIssuer;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The one that joins are charged to as well. */
  readonly budget: ProofBudget;
  /** Whether a node has a connection now. */
  readonly isConnected: (nodeName: string) => boolean | Promise<boolean>;
  /** Called when a node has a new certificate in place of an old one: whoever holds the old one must go. */
  readonly onReplaced: (nodeName: string) => void;
  /** Refuse a node that was found to be two, until an operator decides. */
  readonly quarantine: (
    nodeName: string,
    seen: { readonly remoteHost: string; readonly reason: string },
  ) => Promise<void>;
}

/**
 * Brings a node back that has lost its key: the proof of an enrolled key, or a grant, and a certification request
 * become a certificate for the same node. One transaction: the node, its number, the certificate, the revocation of
 * the one before.
 */
export class Recovery {
  readonly #nodeTtlSeconds: number;
  readonly #ports: RecoveryPorts;
  readonly #nodes: RecordCollection<NodeRecord>;
  readonly #answers: RecordCollection<RepeatAnswer>;
  readonly #renewals: RecordCollection<RenewalAnswer>;
  readonly #planner: RecoveryPlanner;
  readonly #queue = new KeyedQueue();

  constructor(init: { readonly nodeTtlSeconds: number }, ports: RecoveryPorts) {
    this.#nodeTtlSeconds = init.nodeTtlSeconds;
    this.#ports = ports;
    this.#nodes = nodeRecords(ports.barrier);
    this.#answers = repeatAnswers(ports.barrier);
    this.#renewals = renewalAnswers(ports.barrier);
    this.#planner = new RecoveryPlanner(ports);
  }

  /**
   * Answer a CertificateRecover. The caller has made sure that the Welcome's nonce was fresh and serves nothing else.
   * @throws {RksError} CSR_INVALID for what is no request; RECOVERY_REFUSED for an unknown node, one without this way
   * back, and a bad proof alike; then, for whoever has proven who it is, CSR_INVALID, KEY_TOO_WEAK, NODE_BANNED,
   * IDENTITY_CLONED, and RECOVERY_REFUSED with the reason. Retryable, with nothing changed: UNAVAILABLE, BUSY, CONFLICT,
   * AUDIT_UNWRITABLE, STORAGE_FULL, STORAGE_UNWRITABLE, VAULT_SEALED.
   */
  async recover(request: RecoverRequest): Promise<Message<"Certificate">> {
    return this.#ports.budget.admit(async () => {
      const csr = parseCertificateRequest(request.message.csr);
      await this.#assertProof(request, csr);
      const spkiSha256 = createHash("sha256").update(csr.spki).digest("hex");
      let proven: ProvenRequest | undefined;
      const prove = (): ProvenRequest => (proven ??= proveClusterRequest(csr));
      const returner = { ...request, prove, spkiSha256 };
      try {
        return await this.#queue.run(request.message.nodeName, () => this.#recover(returner));
      } catch (reason) {
        const { nodeName } = request.message;
        const budgetKey = `recover/${nodeName}`;
        const refusal = { what: "recovery", budgetKey, event: eventOf(returner), logged: { nodeName } };
        throw await recordRefusal(RksError.from(reason), refusal, this.#ports);
      }
    });
  }

  /** An unknown node costs the same time and gives the same error as a bad proof. */
  async #assertProof(request: RecoverRequest, csr: CertificateRequest): Promise<void> {
    const { message } = request;
    const recovery = (await this.#nodes.read(message.nodeName))?.record.recovery ?? NO_RECOVERY;
    const transcript = recoverProofTranscript({ ...request, ...message });
    const { budget } = this.#ports;
    if (message.kind === "grant") {
      const isKnown = recovery.grant !== undefined;
      const isProven = budget.verify(isKnown ? "known" : "unknown", () => {
        const isOwnKey = isProofByRequestKey(message.proof, { csr, transcript });
        return isMachineOf(recovery, message.machineIdSha256) && isKnown && isOwnKey;
      });
      if (!isProven) throw notRecovered(message.nodeName);
      return;
    }
    const key = recovery.key?.kind === message.kind ? recovery.key : undefined;
    const isProven = budget.verify(key === undefined ? "unknown" : "known", () =>
      isRecoveryProof(
        key === undefined
          ? DUMMY_RECOVERY_KEY
          : { kind: key.kind, publicKey: Buffer.from(key.publicKey, "base64") },
        transcript,
        message.proof,
      ),
    );
    if (key === undefined || !isProven) throw notRecovered(message.nodeName);
  }

  async #recover(returner: Returner): Promise<Message<"Certificate">> {
    return untilCommitted(nodeIsChanging(returner.message.nodeName), async () => {
      const plan = await this.#planner.plan(returner);
      if (plan.kind === "repeat") return this.#answerAgain(returner, plan.answer);
      if (plan.kind === "recover") return this.#commit(returner, plan);
      await this.#ports.quarantine(plan.nodeName, {
        remoteHost: returner.remoteAddress.host,
        reason: `recovery ${returner.message.sequence} was asked for a second time`,
      });
      throw identityCloned(plan.nodeName);
    });
  }

  async #answerAgain(returner: Returner, answer: RepeatAnswer): Promise<Message<"Certificate">> {
    const fields = { serialNumber: answer.serialNumber, repeated: true };
    await this.#ports.audit.result(eventOf(returner), { outcome: "done", fields });
    return recallAnswer(answer.answer);
  }

  /** Undefined when a record changed since it was read; then nothing was written. */
  async #commit(
    returner: Returner,
    plan: Extract<RecoveryPlan, { kind: "recover" }>,
  ): Promise<Message<"Certificate"> | undefined> {
    const { barrier, issuer, audit, clock, onReplaced } = this.#ports;
    const { message, spkiSha256, remoteAddress } = returner;
    const { nodeName } = message;
    const { node, answered } = plan;
    const now = clock.now();
    const at = new Date(now).toISOString();
    const recovery = afterRecovery(plan.recovery, {
      at,
      kind: message.kind,
      remoteHost: remoteAddress.host,
    });
    const prepared = issuer.prepareNodeCertificate({
      csr: plan.csr,
      nodeName,
      ttlSeconds: this.#nodeTtlSeconds,
      now,
    });
    const answer: Message<"Certificate"> = {
      ...certificateMessage(prepared, nodeName, issuer.trust(), now),
      recovery: recoveryTerms(recovery, now),
    };
    const { serialNumber } = prepared;
    const { next: _next, ...before } = node.record;
    const record: NodeRecord = {
      ...before,
      serialNumber,
      spkiSha256,
      notAfter: answer.notAfter,
      generation: before.generation + 1,
      recovery,
    };
    const name = recoveryAnswerName(returner);
    const repeat: RepeatAnswer = {
      requestedName: nodeName,
      nodeName,
      serialNumber,
      answer: rememberedAnswer(answer),
      answeredAt: at,
      notAfter: answer.notAfter,
    };
    const writes = [
      ...prepared.writes,
      ...(await issuer.revocations.writes(serialNumbersOf(node.record), { reason: "superseded", now })),
      this.#renewals.delete(nodeName),
      this.#nodes.put(nodeName, record),
      this.#answers.put(name, repeat),
    ];
    const comparisons = [this.#nodes.unchanged(nodeName, node), this.#answers.unchanged(name, answered)];
    const event = eventOf(returner, { serialNumber });
    const isCommitted = await audited(audit, event, async () => {
      const { succeeded } = await barrier.transaction(comparisons, writes);
      // Whoever holds the certificate before this one must go, whatever becomes of the audit record.
      if (succeeded) onReplaced(nodeName);
      return { value: succeeded, fields: succeeded ? {} : { conflict: true } };
    });
    return isCommitted ? answer : undefined;
  }
}

function eventOf(returner: Returner, fields: AuditFields = {}): AuditEvent {
  const { message, spkiSha256, remoteAddress } = returner;
  const { nodeName, kind, sequence } = message;
  return {
    operation: "recover",
    actor: `node ${nodeName} (${kind})`,
    fields: { nodeName, kind, sequence, spkiSha256, remoteAddress: remoteAddress.host, ...fields },
  };
}
