import { type Clock, enrolRecoveryTranscript, type Message, RksError } from "@rk8s/protocol";
import { type RecordCollection, type Storage, type Stored, untilCommitted } from "@rk8s/storage";
import type { AuditLog } from "../audit/audit-log.js";
import { audited } from "../audit/audited.js";
import { KeyedQueue } from "../nodes/keyed-queue.js";
import { nodeEvicted, nodeIsChanging } from "../nodes/node-certificates.js";
import { type NodeRecord, nodeRecords } from "../nodes/node-record.js";
import { NO_RECOVERY } from "../nodes/node-recovery.js";
import { assertRecoveryKey, isRecoveryProof } from "./recovery-key.js";
import { recoveryKeyName, type RecoveryKeyOwner, recoveryKeyOwners } from "./recovery-key-owner.js";

/** What a host without a machine id says, as bytes. */
const NO_MACHINE = "0".repeat(64);

export interface RecoveryEnrolmentPorts {
  readonly barrier: Storage;
  readonly audit: AuditLog;
  readonly clock: Clock;
}

/** A node's wish to come back by a key of its machine, from inside its session. */
export interface EnrolRecoveryRequest {
  readonly nodeName: string;
  readonly message: Message<"EnrolRecovery">;
  readonly alpn: string;
  /** Bodies of this connection's newest Hello and Welcome. */
  readonly hello: Uint8Array;
  readonly welcome: Uint8Array;
  /** SubjectPublicKeyInfo (DER) of the leaf that this very connection was given. */
  readonly serverLeafSpki: Uint8Array;
}

/** Keeps what a node will be recognised by after a reboot: a key of its machine, and the machine's id. */
export class RecoveryEnrolment {
  readonly #ports: RecoveryEnrolmentPorts;
  readonly #nodes: RecordCollection<NodeRecord>;
  readonly #owners: RecordCollection<RecoveryKeyOwner>;
  readonly #queue = new KeyedQueue();

  constructor(ports: RecoveryEnrolmentPorts) {
    this.#ports = ports;
    this.#nodes = nodeRecords(ports.barrier);
    this.#owners = recoveryKeyOwners(ports.barrier);
  }

  /**
   * Enrol a key. The same key again changes nothing.
   * @throws {RksError} RECOVERY_REFUSED for a key that cannot be used, a bad proof, another key than the node has,
   * and a key that is another node's; NODE_EVICTED. Retryable: CONFLICT, AUDIT_UNWRITABLE, and as the storage does.
   */
  async enrol(request: EnrolRecoveryRequest): Promise<void> {
    const { message, nodeName } = request;
    assertRecoveryKey(message.kind, message.publicKey);
    const transcript = enrolRecoveryTranscript({ ...request, ...message });
    if (!isRecoveryProof(message, transcript, message.proof)) {
      throw refused(`the proof of the ${message.kind} is not by its key for this connection`);
    }
    await this.#queue.run(nodeName, () =>
      untilCommitted(nodeIsChanging(nodeName), () => this.#enrol(request)),
    );
  }

  /**
   * A node has registered: its certificate is in use, so that the number before it is spent, and the first machine
   * after a join is the one that recovery is bound to. Writes only when that is news.
   * @throws {RksError} Retryable: CONFLICT, AUDIT_UNWRITABLE, and as the storage does.
   */
  async registered(node: {
    readonly nodeName: string;
    readonly serialNumber: string;
    readonly machineIdSha256?: Uint8Array | undefined;
  }): Promise<void> {
    await untilCommitted(nodeIsChanging(node.nodeName), () => this.#confirm(node));
  }

  /** Undefined when a record changed since it was read; then nothing was written. */
  async #enrol({ nodeName, message }: EnrolRecoveryRequest): Promise<true | undefined> {
    const node = await this.#nodes.read(nodeName);
    if (node === undefined) throw nodeEvicted(nodeName);
    const { record } = node;
    const recovery = record.recovery ?? NO_RECOVERY;
    const publicKey = Buffer.from(message.publicKey).toString("base64");
    if (recovery.key !== undefined) {
      if (recovery.key.kind === message.kind && recovery.key.publicKey === publicKey) return true;
      throw refused(
        `node "${nodeName}" comes back by its ${recovery.key.kind} since ${recovery.key.enrolledAt}`,
        `Let an operator decide: \`rks node rejoin ${nodeName}\` forgets that key.`,
      );
    }
    const keyName = recoveryKeyName(message.publicKey);
    const owner = await this.#owners.read(keyName);
    await this.#assertFree(owner, record, publicKey);
    const enrolledAt = new Date(this.#ports.clock.now()).toISOString();
    const key = { kind: message.kind, publicKey, enrolledAt };
    const event = {
      operation: "recovery.enrol",
      actor: `node ${nodeName}`,
      fields: { nodeName, kind: message.kind, keySha256: keyName },
    };
    return audited(this.#ports.audit, event, async () => {
      const { succeeded } = await this.#ports.barrier.transaction(
        [this.#nodes.unchanged(nodeName, node), this.#owners.unchanged(keyName, owner)],
        [
          this.#nodes.put(nodeName, { ...record, recovery: { ...recovery, key } }),
          this.#owners.put(keyName, { nodeName, uid: record.uid }),
        ],
      );
      return { value: succeeded ? true : undefined, fields: succeeded ? {} : { conflict: true } };
    });
  }

  /** Hosts made from one image may share a host key: such a key proves nothing. */
  async #assertFree(
    owner: Stored<RecoveryKeyOwner> | undefined,
    own: NodeRecord,
    publicKey: string,
  ): Promise<void> {
    if (owner === undefined || owner.record.uid === own.uid) return;
    const other = (await this.#nodes.read(owner.record.nodeName))?.record;
    if (other?.uid !== owner.record.uid || other.recovery?.key?.publicKey !== publicKey) return;
    throw refused(
      "another node has this key: hosts made from one image must not share their keys",
      "Give this host a key of its own (ssh-keygen -A after removing the copied one), then restart the agent.",
    );
  }

  /** Undefined when a record changed since it was read; then nothing was written. */
  async #confirm(registered: {
    readonly nodeName: string;
    readonly serialNumber: string;
    readonly machineIdSha256?: Uint8Array | undefined;
  }): Promise<true | undefined> {
    const { nodeName, serialNumber, machineIdSha256 } = registered;
    const node = await this.#nodes.read(nodeName);
    if (node === undefined || node.record.serialNumber !== serialNumber) return true;
    const { isUnconfirmed, ...recovery } = node.record.recovery ?? NO_RECOVERY;
    const machine = Buffer.from(machineIdSha256 ?? []).toString("hex");
    const isNewMachine = recovery.machineIdSha256 === undefined && machine !== "" && machine !== NO_MACHINE;
    if (isUnconfirmed !== true && !isNewMachine) return true;
    const bound = isNewMachine ? { machineIdSha256: machine } : {};
    const { succeeded } = await this.#ports.barrier.transaction(
      [this.#nodes.unchanged(nodeName, node)],
      [this.#nodes.put(nodeName, { ...node.record, recovery: { ...recovery, ...bound } })],
    );
    return succeeded ? true : undefined;
  }
}

function refused(
  problem: string,
  suggestion = "Choose another way back with `rkl pod daemon --recovery`.",
): RksError {
  return new RksError("RECOVERY_REFUSED", problem, { suggestion });
}
