import type { Clock } from "@rk8s/protocol";
import { equalBytes, fromHex, RksError } from "@rk8s/protocol";
import { isRepeatable, type RepeatAnswer, repeatAnswers } from "../join/repeat-answer.js";
import type { SignRequest } from "../join/join-plan.js";
import type { Message } from "@rk8s/protocol";
import type { RecordCollection, Storage, Stored } from "@rk8s/storage";
import { assertWelcome } from "../nodes/node-certificates.js";
import { type NodeRecord, nodeRecords } from "../nodes/node-record.js";
import { grantsLeft, NO_RECOVERY, type NodeRecovery } from "../nodes/node-recovery.js";
import type { ProvenRequest } from "../pki/cluster-request.js";
import { isInNetwork } from "../vault/cidr.js";

/** A request to come back, with everything that its proof covers. */
export interface RecoverRequest extends Omit<SignRequest, "message"> {
  readonly message: Message<"CertificateRecover">;
}

/** A request whose proof was good. */
export interface Returner extends RecoverRequest {
  /** Check the request's signature and key, once. @throws {RksError} CSR_INVALID, KEY_TOO_WEAK. */
  readonly prove: () => ProvenRequest;
  readonly spkiSha256: string;
}

/** Everything that was read for one recovery, and what follows from it. */
export type RecoveryPlan =
  | { readonly kind: "repeat"; readonly answer: RepeatAnswer }
  /** A second user of one number. */
  | { readonly kind: "clone"; readonly nodeName: string }
  | {
      readonly kind: "recover";
      readonly csr: ProvenRequest;
      readonly node: Stored<NodeRecord>;
      readonly recovery: NodeRecovery;
      readonly answered: Stored<RepeatAnswer> | undefined;
    };

/** Reads what a recovery depends on and applies every rule to it, in the order of SPEC.md §20. */
export class RecoveryPlanner {
  readonly #clock: Clock;
  readonly #isConnected: (nodeName: string) => boolean | Promise<boolean>;
  readonly #nodes: RecordCollection<NodeRecord>;
  readonly #answers: RecordCollection<RepeatAnswer>;

  constructor(ports: {
    readonly barrier: Storage;
    readonly clock: Clock;
    readonly isConnected: (nodeName: string) => boolean | Promise<boolean>;
  }) {
    this.#clock = ports.clock;
    this.#isConnected = ports.isConnected;
    this.#nodes = nodeRecords(ports.barrier);
    this.#answers = repeatAnswers(ports.barrier);
  }

  /** Read everything and apply every rule. Nothing is written. */
  async plan(returner: Returner): Promise<RecoveryPlan> {
    const { message } = returner;
    const node = await this.#nodes.read(message.nodeName);
    if (node === undefined) throw notRecovered(message.nodeName);
    const answered = await this.#answers.read(recoveryAnswerName(returner));
    assertWelcome(node.record);
    if (answered !== undefined && this.#isRepeat(answered.record, node.record)) {
      return { kind: "repeat", answer: answered.record };
    }
    const csr = returner.prove();
    const recovery = node.record.recovery ?? NO_RECOVERY;
    assertMachine(recovery, message);
    if (message.kind === "grant") assertNetwork(recovery, returner);
    if (isSpent(recovery, message.sequence)) return { kind: "clone", nodeName: message.nodeName };
    if (message.kind === "grant") await this.#assertGrant(recovery, message.nodeName);
    return { kind: "recover", csr, node, recovery, answered };
  }

  #isRepeat(answer: RepeatAnswer, node: NodeRecord): boolean {
    return isRepeatable(answer, this.#clock.now()) && node.serialNumber === answer.serialNumber;
  }

  /** A grant needs no secret: it must not take a node's identity from under it. */
  async #assertGrant(recovery: NodeRecovery, nodeName: string): Promise<void> {
    const { grant } = recovery;
    if (grant === undefined || grantsLeft(recovery, this.#clock.now()) === 0) {
      throw new RksError(
        "RECOVERY_REFUSED",
        `the grant of node "${nodeName}" is used up: ${grant?.recoveries ?? 0} in ${grant?.windowSeconds ?? 0} s`,
        { suggestion: `Run \`rks node rejoin ${nodeName}\` on the control plane.` },
      );
    }
    if (!(await this.#isConnected(nodeName))) return;
    throw new RksError(
      "UNAVAILABLE",
      `node "${nodeName}" is still connected; a grant brings back a node that is gone`,
      { suggestion: "Wait until the old connection has timed out, 15 s at most." },
    );
  }
}

/** Where the answer to this request is kept. */
export function recoveryAnswerName({ message, spkiSha256 }: Returner): string {
  return `recover/${message.nodeName}/${message.sequence}/${spkiSha256}`;
}

/** What whoever has proven nothing is told, whatever the reason. */
export function notRecovered(nodeName: string): RksError {
  return new RksError("RECOVERY_REFUSED", `node "${nodeName}" is not brought back in this way`, {
    suggestion: `Run \`rks node rejoin ${nodeName}\` on the control plane and start again with the token that it prints.`,
  });
}

/** Whether this machine id is the one that the node's recovery is bound to. */
export function isMachineOf(recovery: NodeRecovery, machineIdSha256: Uint8Array): boolean {
  const bound = fromHex(recovery.machineIdSha256 ?? "");
  return bound !== undefined && equalBytes(bound, machineIdSha256);
}

/** A key may be copied with a disk image; the machine id tells its copies apart. */
function assertMachine(
  recovery: NodeRecovery,
  { nodeName, machineIdSha256 }: RecoverRequest["message"],
): void {
  if (recovery.machineIdSha256 === undefined || isMachineOf(recovery, machineIdSha256)) return;
  throw new RksError("RECOVERY_REFUSED", `node "${nodeName}" was another machine: the machine id differs`, {
    suggestion: `If it was installed anew, run \`rks node rejoin ${nodeName}\` on the control plane.`,
  });
}

function assertNetwork({ grant }: NodeRecovery, { message, remoteAddress }: RecoverRequest): void {
  if (grant !== undefined && isInNetwork(remoteAddress.host, grant.cidr)) return;
  throw new RksError(
    "RECOVERY_REFUSED",
    `the grant of node "${message.nodeName}" is only good from "${grant?.cidr ?? "nowhere"}", not from "${remoteAddress.host}"`,
    { suggestion: "Come back from that network, or join with a token that has --cidr." },
  );
}

/**
 * Whether somebody has used this number before: its certificate has been on a connection since, which it may only be
 * once its holder has written down the next number.
 * @throws {RksError} RECOVERY_REFUSED for a number that was never given.
 */
function isSpent(recovery: NodeRecovery, sequence: number): boolean {
  if (sequence === recovery.sequence) return false;
  if (sequence < recovery.sequence) {
    return !(recovery.isUnconfirmed === true && sequence === recovery.sequence - 1);
  }
  throw new RksError(
    "RECOVERY_REFUSED",
    `recovery "${sequence}" was never given: the last is ${recovery.sequence}`,
    {
      suggestion:
        "Check that the control plane was not restored from an older backup; then run `rks node rejoin`.",
    },
  );
}
