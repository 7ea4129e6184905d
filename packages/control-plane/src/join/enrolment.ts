import { createHash, randomUUID } from "node:crypto";
import {
  type Clock,
  fromHex,
  joinProofTranscript,
  type Logger,
  type Message,
  RksError,
} from "@rk8s/protocol";
import {
  type Comparison,
  type RecordCollection,
  type Storage,
  untilCommitted,
  type Write,
} from "@rk8s/storage";
import { parseCertificateRequest } from "@rk8s/x509";
import type { AuditEvent, AuditFields, AuditLog } from "../audit/audit-log.js";
import { audited } from "../audit/audited.js";
import { serialNumbersOf } from "../nodes/node-certificates.js";
import { type NodeRecord, nodeRecords } from "../nodes/node-record.js";
import { afterJoin, NO_RECOVERY, type NodeRecovery, recoveryTerms } from "../nodes/node-recovery.js";
import { proveClusterRequest, type ProvenRequest } from "../pki/cluster-request.js";
import type { CertificateIssuer, PreparedCertificate } from "./certificate-issuer.js";
import { importEd25519PublicKey, verifyEd25519 } from "./ed25519-key.js";
import type { JoinCheck } from "./join-check.js";
import {
  answerName,
  type Applicant,
  checkRequest,
  invalidToken,
  type JoinPlan,
  JoinPlanner,
  type SignRequest,
} from "./join-plan.js";
import { type JoinTokenRecord, joinTokenRecords, withUse } from "./join-token-record.js";
import { KeyedQueue } from "../nodes/keyed-queue.js";
import { type RenewalAnswer, renewalAnswers } from "../nodes/renewal-answer.js";
import { ProofBudget } from "./proof-budget.js";
import { recordRefusal } from "./record-refusal.js";
import { certificateMessage, recallAnswer, rememberedAnswer } from "./certificate-message.js";
import { runJoinChecks } from "./run-join-checks.js";
import { isRepeatable, type RepeatAnswer, repeatAnswers } from "./repeat-answer.js";

/** An operator's certificate serves one command. */
const MAX_OPERATOR_TTL_SECONDS = 600;
/**
 * RFC 8032 §7.1, test 1: a public key whose private half everybody knows. Never accepted, only verified with.
 */
const DUMMY_KEY = fromHex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")!;

export interface EnrolmentPorts {
  readonly barrier: Storage;
  readonly issuer: CertificateIssuer;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Conditions beyond the token's own. */
  readonly joinChecks?: readonly JoinCheck[];
  /** Called when a node has a new certificate in place of an old one: whoever holds the old one must go. */
  readonly onReplaced?: (nodeName: string) => void;
  /** What unproven peers may cost; shared with recovery. Default: one of its own. */
  readonly budget?: ProofBudget;
  /** Makes uids of nodes. Default: random UUIDs. */
  readonly newUid?: () => string;
}

/**
 * Turns the proof of a join token and a certification request into a certificate, in the order that
 * architecture.md states. Nothing is consumed until it is committed: the token's use, the node and the
 * certificate are one transaction.
 */
export class Enrolment {
  readonly #nodeTtlSeconds: number;
  readonly #ports: EnrolmentPorts;
  readonly #tokens: RecordCollection<JoinTokenRecord>;
  readonly #nodes: RecordCollection<NodeRecord>;
  readonly #renewals: RecordCollection<RenewalAnswer>;
  readonly #planner: JoinPlanner;
  readonly #answers: RecordCollection<RepeatAnswer>;
  readonly #budget: ProofBudget;
  readonly #queue = new KeyedQueue();

  constructor(init: { readonly nodeTtlSeconds: number }, ports: EnrolmentPorts) {
    this.#nodeTtlSeconds = init.nodeTtlSeconds;
    this.#ports = ports;
    this.#tokens = joinTokenRecords(ports.barrier);
    this.#nodes = nodeRecords(ports.barrier);
    this.#answers = repeatAnswers(ports.barrier);
    this.#renewals = renewalAnswers(ports.barrier);
    this.#planner = new JoinPlanner(ports);
    this.#budget = ports.budget ?? new ProofBudget(ports);
  }

  /**
   * Answer a CertificateSign. The caller has made sure that the Welcome's nonce was fresh and serves nothing
   * else.
   * @throws {RksError} CSR_INVALID for what is no request; JOIN_TOKEN_INVALID for an unknown token and for a
   * bad proof alike; then, for the token's holder only, CSR_INVALID, KEY_TOO_WEAK, JOIN_TOKEN_REVOKED,
   * JOIN_TOKEN_EXPIRED, JOIN_TOKEN_USED, JOIN_TOKEN_SCOPE, NODE_NAME_INVALID, NODE_NAME_TAKEN, NODE_BANNED,
   * ALREADY_EXISTS, or what a JoinCheck throws. Retryable, with nothing consumed: BUSY, CONFLICT,
   * AUDIT_UNWRITABLE, STORAGE_FULL, STORAGE_UNWRITABLE, VAULT_SEALED.
   */
  async sign(
    request: SignRequest,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<Message<"Certificate">> {
    return this.#receive(request, options, (applicant) =>
      this.#queue.run(request.message.tokenId, () => this.#enrol(applicant)),
    );
  }

  /**
   * Say whether `sign` would grant the same request now. Nothing is issued or used up.
   * @throws {RksError} as `sign`.
   */
  async check(request: SignRequest, options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    await this.#receive(request, options, (applicant) => this.#planner.plan(applicant));
  }

  /** Find out who asks, within what unproven peers may cost; a refusal of the token's holder is recorded. */
  async #receive<T>(
    request: SignRequest,
    options: { readonly signal?: AbortSignal },
    work: (applicant: Applicant) => Promise<T>,
  ): Promise<T> {
    return this.#budget.admit(async () => {
      const csr = parseCertificateRequest(request.message.csr);
      await this.#assertProof(request);
      const spkiSha256 = createHash("sha256").update(csr.spki).digest("hex");
      const signal = options.signal ?? new AbortController().signal;
      let proven: ProvenRequest | undefined;
      const prove = (): ProvenRequest => (proven ??= proveClusterRequest(csr));
      const applicant = { ...request, csr, prove, spkiSha256, signal };
      try {
        await this.#runJoinChecks(applicant);
        return await work(applicant);
      } catch (reason) {
        const { tokenId, nodeName = "" } = request.message;
        const event = eventOf(applicant, nodeName);
        const refusal = { what: "join", budgetKey: tokenId, event, logged: { tokenId } };
        throw await recordRefusal(RksError.from(reason), refusal, { ...this.#ports, budget: this.#budget });
      }
    });
  }

  /** Forget answers that are no longer repeated. Returns how many. */
  async tidy(): Promise<number> {
    let count = 0;
    const now = this.#ports.clock.now();
    for await (const stored of this.#answers.list()) {
      if (isRepeatable(stored.record, now)) continue;
      const { name } = stored;
      const { succeeded } = await this.#ports.barrier.transaction(
        [this.#answers.unchanged(name, stored)],
        [this.#answers.delete(name)],
      );
      if (succeeded) count += 1;
    }
    return count;
  }

  /** An unknown token costs the same time and gives the same error as a bad proof. */
  async #assertProof(request: SignRequest): Promise<void> {
    const { message } = request;
    const token = await this.#tokens.read(message.tokenId);
    const publicKey = (token === undefined ? undefined : fromHex(token.record.publicKey)) ?? DUMMY_KEY;
    const isProven = this.#budget.verify(token === undefined ? "unknown" : "known", () => {
      const transcript = joinProofTranscript({
        alpn: request.alpn,
        hello: request.hello,
        welcome: request.welcome,
        tokenId: message.tokenId,
        serverLeafSpki: request.serverLeafSpki,
        csr: message.csr,
        nodeName: message.nodeName ?? "",
        role: message.role,
      });
      return verifyEd25519(importEd25519PublicKey(publicKey), transcript, message.proof);
    });
    if (token === undefined || !isProven) throw invalidToken(message.tokenId);
  }

  /** Outside the token's queue, because they may take their time. */
  async #runJoinChecks(applicant: Applicant): Promise<void> {
    const { joinChecks = [], clock, logger } = this.#ports;
    if (joinChecks.length === 0) return;
    const plan = await this.#planner.plan(applicant);
    if ("repeat" in plan) return;
    const request = checkRequest(applicant, plan.nodeName, plan.token.record);
    await runJoinChecks(joinChecks, request, { clock, logger, signal: applicant.signal });
  }

  async #enrol(applicant: Applicant): Promise<Message<"Certificate">> {
    return untilCommitted("the records of this join are changing at this moment", async () => {
      const plan = await this.#planner.plan(applicant);
      return "repeat" in plan ? this.#answerAgain(applicant, plan.repeat) : this.#commit(applicant, plan);
    });
  }

  async #answerAgain(applicant: Applicant, answer: RepeatAnswer): Promise<Message<"Certificate">> {
    const fields = { serialNumber: answer.serialNumber, repeated: true };
    await this.#ports.audit.result(eventOf(applicant, answer.nodeName), { outcome: "done", fields });
    return recallAnswer(answer.answer);
  }

  /** Undefined when a record changed since it was read; then nothing was written. */
  async #commit(applicant: Applicant, plan: JoinPlan): Promise<Message<"Certificate"> | undefined> {
    const now = this.#ports.clock.now();
    const prepared = this.#prepare(applicant, plan, now);
    const recovery = recoveryAfter(applicant, plan);
    const answer: Message<"Certificate"> = {
      ...certificateMessage(prepared, plan.nodeName, this.#ports.issuer.trust(), now),
      ...(recovery === undefined ? {} : { recovery: recoveryTerms(recovery, now) }),
    };
    const issued = { prepared, answer, recovery, now };
    const { comparisons, writes } = await this.#transaction(applicant, plan, issued);
    const { serialNumber } = prepared;
    const event = eventOf(applicant, plan.nodeName, { serialNumber, rejoin: plan.node !== undefined });
    const isCommitted = await audited(this.#ports.audit, event, async () => {
      const { succeeded } = await this.#ports.barrier.transaction(comparisons, writes);
      // Whoever holds the certificate before this one must go, whatever becomes of the audit record.
      if (succeeded && plan.node !== undefined) this.#ports.onReplaced?.(plan.nodeName);
      return { value: succeeded, fields: succeeded ? {} : { conflict: true } };
    });
    return isCommitted ? answer : undefined;
  }

  #prepare({ message }: Applicant, { nodeName, token, csr }: JoinPlan, now: number): PreparedCertificate {
    const { issuer } = this.#ports;
    if (message.role === "node") {
      return issuer.prepareNodeCertificate({
        csr,
        nodeName,
        ttlSeconds: this.#nodeTtlSeconds,
        now,
      });
    }
    const leftSeconds = Math.ceil((Date.parse(token.record.expiresAt) - now) / 1000);
    const ttlSeconds = Math.min(MAX_OPERATOR_TTL_SECONDS, leftSeconds);
    return issuer.prepareOperatorCertificate({ csr, tokenId: message.tokenId, ttlSeconds, now });
  }

  /** Everything that comes true with this join, and what must not have changed since it was read. */
  async #transaction(
    applicant: Applicant,
    plan: JoinPlan,
    issued: {
      readonly prepared: PreparedCertificate;
      readonly answer: Message<"Certificate">;
      readonly recovery: NodeRecovery | undefined;
      readonly now: number;
    },
  ): Promise<{ readonly comparisons: Comparison[]; readonly writes: Write[] }> {
    const { message, spkiSha256 } = applicant;
    const { nodeName, token, node, answered } = plan;
    const { prepared, answer } = issued;
    const at = new Date(issued.now).toISOString();
    const { serialNumber } = prepared;
    const name = answerName(applicant);
    const repeat: RepeatAnswer = {
      requestedName: message.nodeName ?? "",
      nodeName,
      serialNumber,
      answer: rememberedAnswer(answer),
      answeredAt: at,
      notAfter: answer.notAfter,
    };
    const comparisons = [this.#tokens.unchanged(token.name, token), this.#answers.unchanged(name, answered)];
    const writes = [...prepared.writes, this.#answers.put(name, repeat)];
    if (message.role === "node") {
      const certificate = { serialNumber, spkiSha256, notAfter: answer.notAfter, tokenId: token.name };
      const recovery = issued.recovery === undefined ? {} : { recovery: issued.recovery };
      const newNode = { name: nodeName, uid: (this.#ports.newUid ?? randomUUID)(), joinedAt: at, labels: {} };
      const record: NodeRecord =
        node === undefined
          ? { ...newNode, ...certificate, generation: 0, ...recovery }
          : { ...asRejoined(node.record), ...certificate, ...recovery };
      if (node !== undefined) {
        const replaced = serialNumbersOf(node.record);
        const how = { reason: "superseded", now: issued.now } as const;
        writes.push(
          ...(await this.#ports.issuer.revocations.writes(replaced, how)),
          this.#renewals.delete(nodeName),
        );
      }
      comparisons.push(this.#nodes.unchanged(nodeName, node));
      writes.push(
        this.#nodes.put(nodeName, record),
        this.#tokens.put(token.name, withUse(token.record, { node: nodeName, at })),
      );
    }
    return { comparisons, writes };
  }
}

/** What stays of a node that comes back under a new key: no certificate of before, and no doubt about who it is. */
function asRejoined(before: NodeRecord): NodeRecord {
  const { next: _next, cloned: _cloned, cloneAlarm: _cloneAlarm, ...kept } = before;
  return { ...kept, generation: before.generation + 1 };
}

/** How a node that joins comes back; an operator is no node. */
function recoveryAfter(
  { message, remoteAddress }: Applicant,
  { node, token }: JoinPlan,
): NodeRecovery | undefined {
  if (message.role === "operator") return undefined;
  const { grant, cidr } = token.record;
  const before = node === undefined ? undefined : (node.record.recovery ?? NO_RECOVERY);
  return afterJoin(before, { grant, cidr: cidr ?? remoteAddress.host.replace(/%.*$/, "") });
}

function eventOf(applicant: Applicant, nodeName: string, fields: AuditFields = {}): AuditEvent {
  const { message, spkiSha256, remoteAddress } = applicant;
  return {
    operation: "join",
    actor: `join token ${message.tokenId}`,
    fields: { role: message.role, nodeName, spkiSha256, remoteAddress: remoteAddress.host, ...fields },
  };
}
