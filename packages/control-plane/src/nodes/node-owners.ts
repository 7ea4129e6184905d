import { RksError } from "@rk8s/protocol";
import { type RecordCollection, type Storage, type Stored, untilCommitted } from "@rk8s/storage";
import type { Member } from "../vault/members/places.js";
import type { Members } from "../vault/members/sharing.js";
import { nodeEvicted, nodeIsChanging } from "./node-certificates.js";
import { type NodeRecord, nodeRecords } from "./node-record.js";
import { type NodeState, nodeStates } from "./node-state.js";

export interface NodeOwnersPorts {
  readonly barrier: Storage;
  readonly members: Members;
}

/**
 * Which of several control planes has a node's session: the one that the node registered with last. That is written before the
 * registration is answered; heartbeats stay with the owner.
 */
export class NodeOwners {
  readonly #barrier: Storage;
  readonly #members: Members;
  readonly #records: RecordCollection<NodeRecord>;
  readonly #states: RecordCollection<NodeState>;

  constructor({ barrier, members }: NodeOwnersPorts) {
    this.#barrier = barrier;
    this.#members = members;
    this.#records = nodeRecords(barrier);
    this.#states = nodeStates(barrier);
  }

  /** Whether there may be others. */
  get isShared(): boolean {
    return this.#members.isShared;
  }

  /** What the last owner wrote. */
  async read(nodeName: string): Promise<Stored<NodeState> | undefined> {
    return this.#states.read(nodeName);
  }

  /**
   * The node is this control plane's from now on.
   * @throws {RksError} NODE_EVICTED; CONFLICT when it registers with another one at this moment.
   */
  async take(nodeName: string, before: Stored<NodeState> | undefined, state: NodeState): Promise<void> {
    const record = await this.#records.read(nodeName);
    if (record === undefined) throw nodeEvicted(nodeName);
    if (await this.#write(record, before, state)) return;
    throw new RksError("CONFLICT", nodeIsChanging(nodeName), { suggestion: "Register again." });
  }

  /** Write how the node is; false when it is another control plane's by now, or forgotten. */
  async update(nodeName: string, state: NodeState): Promise<boolean> {
    return untilCommitted<boolean>(nodeIsChanging(nodeName), async () => {
      const record = await this.#records.read(nodeName);
      const before = await this.#states.read(nodeName);
      if (record === undefined || this.isTaken(before?.record)) return false;
      const isWritten = await this.#write(record, before, { ...state, instances: before?.record.instances });
      return isWritten ? true : undefined;
    });
  }

  /** The control plane that has the node's session, when that is another one and there; undefined else. */
  otherOf(state: NodeState | undefined): Member | undefined {
    const { owner } = state ?? {};
    if (owner === undefined || owner === this.#members.id) return undefined;
    return this.#members.find(owner);
  }

  /** Whether another control plane has taken the node. */
  isTaken(state: NodeState | undefined): boolean {
    return state?.owner !== undefined && state.owner !== this.#members.id;
  }

  async #write(
    record: Stored<NodeRecord>,
    before: Stored<NodeState> | undefined,
    state: NodeState,
  ): Promise<boolean> {
    const { name } = record;
    const owned = { ...state, owner: this.#members.id };
    const { succeeded } = await this.#barrier.transaction(
      [this.#records.unchanged(name, record), this.#states.unchanged(name, before)],
      [this.#states.put(name, owned)],
    );
    return succeeded;
  }
}

/** What an operator is told who asks the wrong control plane for something that takes the node's connection. */
export function connectedElsewhere(name: string, other: Member): RksError {
  return new RksError(
    "UNAVAILABLE",
    `node "${name}" is connected to the control plane at "${other.address}"`,
    {
      suggestion: `Ask that one: \`--rks-address ${other.address}\`, or \`rks\` on its host.`,
    },
  );
}
