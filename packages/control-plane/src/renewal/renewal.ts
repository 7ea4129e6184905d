import { createHash } from "node:crypto";
import { type Clock, type Message, RksError } from "@rk8s/protocol";
import { type RecordCollection, type Storage, type Stored, untilCommitted } from "@rk8s/storage";
import { type CertificateRequest, parseCertificateRequest } from "@rk8s/x509";
import type { AuditEvent, AuditLog } from "../audit/audit-log.js";
import { audited } from "../audit/audited.js";
import type { CertificateIssuer } from "../join/certificate-issuer.js";
import { certificateMessage, recallAnswer, rememberedAnswer } from "../join/certificate-message.js";
import { ProofBudget } from "../join/proof-budget.js";
import { KeyedQueue } from "../nodes/keyed-queue.js";
import { assertWelcome, nodeEvicted, nodeIsChanging, standingOf } from "../nodes/node-certificates.js";
import { type NodeCertificate, type NodeRecord, nodeRecords } from "../nodes/node-record.js";
import { type RenewalAnswer, renewalAnswers } from "../nodes/renewal-answer.js";
import { proveClusterRequest } from "../pki/cluster-request.js";
import { isRenewProof } from "./renew-proof.js";

export interface RenewalPorts {
  readonly barrier: Storage;
  readonly issuer: CertificateIssuer;
  readonly audit: AuditLog;
  readonly clock: Clock;
}

/** A node's request for its next certificate. */
export interface RenewRequest {
  readonly message: Message<"CertificateRenew">;
  /** Body of the newest Welcome of this connection, as sent. */
  readonly welcome: Uint8Array;
  readonly nodeName: string;
  /** What this connection was opened with. */
  readonly certificate: NodeCertificate;
}

/** A request that was read, and whose sender holds the key. */
interface Provenance extends RenewRequest {
  readonly csr: CertificateRequest;
  readonly spkiSha256: string;
}

/**
 * Gives a node its next certificate, inside its session. Nothing of the current one changes before the next is used
 * (`Promotion`): a lost answer, a crash of either side and a second attempt do no harm.
 */
export class Renewal {
  readonly #nodeTtlSeconds: number;
  readonly #ports: RenewalPorts;
  readonly #nodes: RecordCollection<NodeRecord>;
  readonly #answers: RecordCollection<RenewalAnswer>;
  readonly #budget: ProofBudget;
  readonly #queue = new KeyedQueue();

  constructor(init: { readonly nodeTtlSeconds: number }, ports: RenewalPorts) {
    this.#nodeTtlSeconds = init.nodeTtlSeconds;
    this.#ports = ports;
    this.#nodes = nodeRecords(ports.barrier);
    this.#answers = renewalAnswers(ports.barrier);
    this.#budget = new ProofBudget(ports);
  }

  /**
   * Answer a CertificateRenew: the same bytes to the same key, also after that certificate became the current one.
   * Another key gets another next certificate; the one before it is revoked.
   * @throws {RksError} CSR_INVALID for what is no request, a bad proof, and for the key that the node has already;
   * KEY_TOO_WEAK, NODE_EVICTED, NODE_BANNED, IDENTITY_CLONED. Retryable, with nothing changed: CONFLICT when a newer
   * certificate of the node is in use, BUSY, AUDIT_UNWRITABLE, STORAGE_FULL, STORAGE_UNWRITABLE, VAULT_SEALED.
   */
  async renew(request: RenewRequest): Promise<Message<"Certificate">> {
    return this.#budget.admit(async () => {
      const csr = parseCertificateRequest(request.message.csr);
      const isProven = this.#budget.verify("known", () =>
        isRenewProof(request.message.proof, { csr, welcome: request.welcome }),
      );
      if (!isProven) {
        throw refused("the proof is not by its key for this connection", "Sign this connection's Welcome.");
      }
      const spkiSha256 = createHash("sha256").update(csr.spki).digest("hex");
      return this.#queue.run(request.nodeName, () => this.#renew({ ...request, csr, spkiSha256 }));
    });
  }

  async #renew(request: Provenance): Promise<Message<"Certificate">> {
    return untilCommitted(nodeIsChanging(request.nodeName), async () => {
      const node = await this.#nodes.read(request.nodeName);
      if (node === undefined) throw nodeEvicted(request.nodeName);
      assertWelcome(node.record);
      const answered = await this.#answers.read(request.nodeName);
      return answered?.record.spkiSha256 === request.spkiSha256 && isStillGood(answered.record, node.record)
        ? this.#answerAgain(request, answered.record)
        : this.#commit(request, node, answered);
    });
  }

  async #answerAgain(
    request: Provenance,
    { answer, serialNumber }: RenewalAnswer,
  ): Promise<Message<"Certificate">> {
    const fields = { serialNumber, repeated: true };
    await this.#ports.audit.result(eventOf(request), { outcome: "done", fields });
    return recallAnswer(answer);
  }

  /** Undefined when a record changed since it was read; then nothing was written. */
  async #commit(
    request: Provenance,
    node: Stored<NodeRecord>,
    answered: Stored<RenewalAnswer> | undefined,
  ): Promise<Message<"Certificate"> | undefined> {
    const { barrier, issuer, audit, clock } = this.#ports;
    const { nodeName, spkiSha256 } = request;
    const { record } = node;
    if (standingOf(record, request.certificate) !== "current") throw superseded(nodeName);
    if (spkiSha256 === record.spkiSha256) {
      throw refused("it is for the key that the node has already", "Make a new key for each renewal.");
    }
    const now = clock.now();
    const csr = proveClusterRequest(request.csr);
    const ttlSeconds = this.#nodeTtlSeconds;
    const prepared = issuer.prepareNodeCertificate({ csr, nodeName, ttlSeconds, now });
    const answer = certificateMessage(prepared, nodeName, issuer.trust(), now);
    const { serialNumber } = prepared;
    const replaced = record.next === undefined ? [] : [record.next.serialNumber];
    const next: NodeCertificate = { serialNumber, spkiSha256, notAfter: answer.notAfter };
    const writes = [
      ...prepared.writes,
      ...(await issuer.revocations.writes(replaced, { reason: "superseded", now })),
      this.#nodes.put(nodeName, { ...record, next }),
      this.#answers.put(nodeName, {
        spkiSha256,
        serialNumber,
        answer: rememberedAnswer(answer),
      }),
    ];
    const comparisons = [this.#nodes.unchanged(nodeName, node), this.#answers.unchanged(nodeName, answered)];
    const isCommitted = await audited(audit, eventOf(request, serialNumber), async () => {
      const { succeeded } = await barrier.transaction(comparisons, writes);
      return { value: succeeded, fields: succeeded ? {} : { conflict: true } };
    });
    return isCommitted ? answer : undefined;
  }
}

/** Whether what was answered counts: it is the next certificate, or has become the current one. */
function isStillGood(answer: RenewalAnswer, record: NodeRecord): boolean {
  return standingOf(record, answer) !== "neither";
}

function eventOf({ nodeName, certificate, spkiSha256 }: Provenance, serialNumber?: string): AuditEvent {
  return {
    operation: "renew",
    actor: `node ${nodeName}`,
    fields: { nodeName, spkiSha256, currentSerialNumber: certificate.serialNumber, serialNumber },
  };
}

function superseded(nodeName: string): RksError {
  return new RksError("CONFLICT", `a newer certificate of node "${nodeName}" is in use`, {
    suggestion: "Renew over the connection of the newer one.",
  });
}

function refused(problem: string, suggestion: string): RksError {
  return new RksError("CSR_INVALID", `certificate request is refused: ${problem}`, { suggestion });
}
