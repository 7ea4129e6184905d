import { type Clock, type Logger, RksError } from "@rk8s/protocol";
import { type RecordCollection, type Storage, type Stored, untilCommitted, type Write } from "@rk8s/storage";
import type { AuditFields, AuditLog } from "../audit/audit-log.js";
import { audited } from "../audit/audited.js";
import type { ClusterRevocations } from "../pki/cluster-revocation.js";
import { identityCloned, nodeBanned, nodeIsChanging, serialNumbersOf } from "./node-certificates.js";
import type { NodeInstances } from "./node-instances.js";
import type { NodeLinks } from "./node-link.js";
import { type NodeRecord, nodeRecords } from "./node-record.js";
import { nodeStates } from "./node-state.js";

/** Alarms of one node: whoever has an old certificate can cause one with every connection. */
const ALARM_INTERVAL_MS = 60_000;
/** Nodes whose alarms are counted; the one counted longest makes room. */
const MAX_ALARMED = 4096;
const MAX_REASON_LENGTH = 256;
const DEFAULT_REASON = "by an operator";

export interface NodeRefusalsPorts {
  readonly barrier: Storage;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly links: NodeLinks;
  readonly instances: NodeInstances;
  readonly revocations: Pick<ClusterRevocations, "writes" | "releases">;
  /** Told of each alarm and each quarantine. */
  readonly onCloneSuspected?: ((sign: "older certificate" | "two processes") => void) | undefined;
}

interface Change {
  readonly operation: string;
  readonly actor: string;
  readonly fields: AuditFields;
  readonly record: (before: NodeRecord) => NodeRecord;
  readonly writes: (before: NodeRecord) => Promise<readonly Write[]>;
  /** Once it is committed, whatever becomes of the audit record. */
  readonly onDone?: () => void;
}

/**
 * Keeps nodes out and lets them in again. A node that is kept out stays known, with its pods and its certificates; those
 * are on hold in the cluster's revocation lists meanwhile.
 */
export class NodeRefusals {
  readonly #ports: NodeRefusalsPorts;
  readonly #nodes: RecordCollection<NodeRecord>;
  readonly #alarmedAtMs = new Map<string, number>();

  constructor(ports: NodeRefusalsPorts) {
    this.#ports = ports;
    this.#nodes = nodeRecords(ports.barrier);
  }

  /**
   * End the node's connections and refuse it everywhere until `unban`: on connections, in renewals, with every token.
   * Again: the new reason counts.
   * @throws {RksError} NOT_FOUND, INPUT_INVALID for a reason that is too long, AUDIT_UNWRITABLE, CONFLICT, and as the
   * storage does.
   */
  async ban(
    name: string,
    options: { readonly actor: string; readonly reason?: string | undefined },
  ): Promise<void> {
    const { actor, reason = DEFAULT_REASON } = options;
    if (reason.length > MAX_REASON_LENGTH) {
      throw new RksError("INPUT_INVALID", `the reason has ${reason.length} characters`, {
        suggestion: `Give one of at most ${MAX_REASON_LENGTH}.`,
      });
    }
    await this.#change(name, {
      operation: "node.ban",
      actor,
      fields: { reason },
      record: (before) => ({ ...before, banned: reason }),
      writes: (before) => this.#hold(before),
      onDone: () => this.#ports.links.close(name, "NODE_BANNED", nodeBanned({ name }).message),
    });
  }

  /**
   * Let a node in again that is banned, or refused because its identity was copied. Its certificates count again while
   * they live. Nothing is different for a node that is not refused.
   * @throws {RksError} NOT_FOUND, AUDIT_UNWRITABLE, CONFLICT, and as the storage does.
   */
  async unban(name: string, options: { readonly actor: string }): Promise<void> {
    await this.#change(name, {
      operation: "node.unban",
      actor: options.actor,
      fields: {},
      record: ({ banned: _banned, cloned: _cloned, cloneAlarm: _alarm, ...kept }) => kept,
      writes: async (before) => [
        ...(isRefused(before) ? this.#ports.revocations.releases(serialNumbersOf(before)) : []),
        ...(await this.#forgetInstances(name)),
      ],
      onDone: () => this.#ports.instances.forget(name),
    });
  }

  /**
   * Two processes use the node's identity: end the connections of both and refuse the node until an operator decides.
   * @throws {RksError} as `ban`.
   */
  async quarantine(
    name: string,
    seen: { readonly instanceId?: string; readonly remoteHost: string; readonly reason?: string },
  ): Promise<void> {
    const { clock, logger, links } = this.#ports;
    const { reason = "a process that had been replaced came back" } = seen;
    const at = new Date(clock.now()).toISOString();
    await this.#change(name, {
      operation: "node.clone-alarm",
      actor: `node ${name}`,
      fields: { ...seen, reason, quarantined: true },
      record: (before) => ({
        ...before,
        cloned: `${reason} from ${seen.remoteHost} at ${at}`,
        cloneAlarm: { at, serialNumber: before.serialNumber, remoteHost: seen.remoteHost },
      }),
      writes: (before) => this.#hold(before),
      onDone: () => links.close(name, "IDENTITY_CLONED", identityCloned(name).message),
    });
    this.#ports.onCloneSuspected?.("two processes");
    logger.error("Two processes use the identity of one node; both are refused", { nodeName: name, ...seen });
  }

  /**
   * Somebody presented a certificate that the node had before: a copy of an older identity. Recorded at most once a
   * minute and node; who presented it is refused in any case. Never rejects.
   */
  async alarm(
    name: string,
    seen: { readonly serialNumber: string; readonly remoteHost: string },
  ): Promise<void> {
    const { clock, logger } = this.#ports;
    if (!this.#mayAlarm(name)) return;
    this.#ports.onCloneSuspected?.("older certificate");
    logger.warn("Somebody presents an older certificate of a node", { nodeName: name, ...seen });
    const at = new Date(clock.now()).toISOString();
    try {
      await this.#change(name, {
        operation: "node.clone-alarm",
        actor: `node ${name}`,
        fields: { ...seen, quarantined: false },
        record: (before) => ({ ...before, cloneAlarm: { at, ...seen } }),
        writes: () => Promise.resolve([]),
      });
    } catch (reason) {
      const { code, message } = RksError.from(reason);
      logger.error("Clone alarm could not be recorded", { nodeName: name, code, reason: message });
    }
  }

  #mayAlarm(name: string): boolean {
    const nowMs = this.#ports.clock.monotonicMs();
    if (nowMs - (this.#alarmedAtMs.get(name) ?? -Infinity) < ALARM_INTERVAL_MS) return false;
    this.#alarmedAtMs.delete(name);
    this.#alarmedAtMs.set(name, nowMs);
    const [oldest] = this.#alarmedAtMs.keys();
    if (this.#alarmedAtMs.size > MAX_ALARMED && oldest !== undefined) this.#alarmedAtMs.delete(oldest);
    return true;
  }

  /** Of several control planes the next one must not know the processes of before either. */
  async #forgetInstances(name: string): Promise<Write[]> {
    const states = nodeStates(this.#ports.barrier);
    const stored = await states.read(name);
    if (stored?.record.instances === undefined) return [];
    const { instances: _instances, ...state } = stored.record;
    return [states.put(name, state)];
  }

  #hold(before: NodeRecord): Promise<Write[]> {
    const how = { reason: "certificateHold", now: this.#ports.clock.now() } as const;
    return this.#ports.revocations.writes(serialNumbersOf(before), how);
  }

  async #change(name: string, change: Change): Promise<void> {
    const { audit } = this.#ports;
    const known = await this.#read(name);
    const { uid, serialNumber } = known.record;
    const { operation, actor, onDone } = change;
    const event = { operation, actor, fields: { nodeName: name, uid, serialNumber, ...change.fields } };
    await audited(audit, event, async () => {
      await this.#commit(name, change);
      onDone?.();
      return { value: undefined };
    });
  }

  async #commit(name: string, change: Change): Promise<void> {
    await untilCommitted(nodeIsChanging(name), async () => {
      const stored = await this.#read(name);
      const put = this.#nodes.put(name, change.record(stored.record));
      const writes = [put, ...(await change.writes(stored.record))];
      const unchanged = this.#nodes.unchanged(name, stored);
      const { succeeded } = await this.#ports.barrier.transaction([unchanged], writes);
      return succeeded ? true : undefined;
    });
  }

  async #read(name: string): Promise<Stored<NodeRecord>> {
    const stored = await this.#nodes.read(name);
    if (stored !== undefined) return stored;
    throw new RksError("NOT_FOUND", `there is no node "${name.slice(0, 80)}"`, {
      suggestion: "List the nodes with `rks node list`.",
    });
  }
}

function isRefused({ banned, cloned }: NodeRecord): boolean {
  return banned !== undefined || cloned !== undefined;
}
