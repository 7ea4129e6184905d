import type { Clock } from "@rk8s/protocol";
import { type RecordCollection, type Storage, type Stored, untilCommitted } from "@rk8s/storage";
import type { AuditLog } from "../audit/audit-log.js";
import { audited } from "../audit/audited.js";
import type { CertificateIssuer } from "../join/certificate-issuer.js";
import { KeyedQueue } from "../nodes/keyed-queue.js";
import {
  assertWelcome,
  nodeEvicted,
  nodeIsChanging,
  notCurrent,
  standingOf,
} from "../nodes/node-certificates.js";
import { type NodeCertificate, type NodeRecord, nodeRecords } from "../nodes/node-record.js";

export interface PromotionPorts {
  readonly barrier: Storage;
  readonly issuer: Pick<CertificateIssuer, "revocations">;
  readonly audit: AuditLog;
  readonly clock: Clock;
}

/** Makes a node's next certificate the current one when it is used for the first time, and revokes the one before. */
export class Promotion {
  readonly #ports: PromotionPorts;
  readonly #nodes: RecordCollection<NodeRecord>;
  readonly #queue = new KeyedQueue();

  constructor(ports: PromotionPorts) {
    this.#ports = ports;
    this.#nodes = nodeRecords(ports.barrier);
  }

  /**
   * A certificate of the node is used. When this resolves it is the current one, on disk; returns its generation.
   * @throws {RksError} NODE_EVICTED, NODE_BANNED, IDENTITY_CLONED, CERTIFICATE_REVOKED. Retryable, with nothing
   * changed: CONFLICT, AUDIT_UNWRITABLE, STORAGE_FULL, STORAGE_UNWRITABLE.
   */
  async use(nodeName: string, certificate: NodeCertificate): Promise<number> {
    return this.#queue.run(nodeName, () =>
      untilCommitted(nodeIsChanging(nodeName), async () => {
        const node = await this.#nodes.read(nodeName);
        if (node === undefined) throw nodeEvicted(nodeName);
        assertWelcome(node.record);
        const standing = standingOf(node.record, certificate);
        if (standing === "neither") throw notCurrent(nodeName, certificate.serialNumber);
        if (standing === "current") return node.record.generation;
        const generation = node.record.generation + 1;
        return (await this.#promote(node, certificate, generation)) ? generation : undefined;
      }),
    );
  }

  /** False when the record changed since it was read; then nothing was written. */
  async #promote(
    node: Stored<NodeRecord>,
    { serialNumber, spkiSha256, notAfter }: NodeCertificate,
    generation: number,
  ): Promise<boolean> {
    const { barrier, issuer, audit, clock } = this.#ports;
    const { next: _used, ...before } = node.record;
    const record: NodeRecord = { ...before, serialNumber, spkiSha256, notAfter, generation };
    const how = { reason: "superseded", now: clock.now() } as const;
    const writes = [
      this.#nodes.put(node.name, record),
      ...(await issuer.revocations.writes([before.serialNumber], how)),
    ];
    const event = {
      operation: "renew.use",
      actor: `node ${node.name}`,
      fields: { nodeName: node.name, serialNumber, generation, revokedSerialNumber: before.serialNumber },
    };
    return audited(audit, event, async () => {
      const { succeeded } = await barrier.transaction([this.#nodes.unchanged(node.name, node)], writes);
      return { value: succeeded, fields: succeeded ? {} : { conflict: true } };
    });
  }
}
