import type { Clock } from "@rk8s/protocol";
import { RecordCollection, type Storage, untilCommitted, type Write } from "@rk8s/storage";
import { parseCertificate } from "@rk8s/x509";
import { z } from "zod";
import { audited } from "../audit/audited.js";
import type { AuditLog } from "../audit/audit-log.js";
import { assertWelcome, nodeEvicted, nodeIsChanging, standingOf } from "./node-certificates.js";
import { nodeRecords } from "./node-record.js";

/** Clocks of rks before and after a restore may differ by so much. */
const SKEW_MS = 300_000;
const NAME = "restore";

const adoptionRecord = z.object({
  /** When the backup was made: certificates that were issued since are unknown. */
  from: z.iso.datetime(),
  /** The last of them has expired. */
  until: z.iso.datetime(),
  epoch: z.int(),
});

/** That nodes may go on with certificates which a restored store has never seen. */
export type Adoption = z.output<typeof adoptionRecord>;

function adoptions(storage: Storage): RecordCollection<Adoption> {
  return new RecordCollection(storage, "cluster/adoption/", adoptionRecord);
}

/** The write that lets nodes be adopted. */
export function adoptionWrite(storage: Storage, adoption: Adoption): Write {
  return adoptions(storage).put(NAME, adoption);
}

export interface NodeAdoptionPorts {
  readonly barrier: Storage;
  readonly audit: AuditLog;
  readonly clock: Clock;
  /** Whether the cluster's CA has a record of a certificate, and the writes that make one. */
  readonly certificates: {
    readonly isKnown: (serialNumber: string) => Promise<boolean>;
    readonly writes: (der: Uint8Array) => readonly Write[];
  };
}

/** Who presents a certificate. */
export interface PresentedCertificate {
  readonly name: string;
  readonly serialNumber: string;
  readonly spkiSha256: string;
  readonly notAfter: number;
}

/**
 * After a restore that an operator asked this for: a node whose certificate was issued since the backup goes on with it, once. TLS
 * has verified it, so the cluster's CA issued it; which node it is for is in it; that the node was banned since the backup
 * nobody knows any more, which is why an operator has to ask for it.
 */
export class NodeAdoption {
  readonly #ports: NodeAdoptionPorts;
  #open: Adoption | undefined;

  constructor(ports: NodeAdoptionPorts) {
    this.#ports = ports;
  }

  /** Read whether there was such a restore; to be called before anybody is served. */
  async load(): Promise<void> {
    this.#open = (await adoptions(this.#ports.barrier).read(NAME))?.record;
  }

  /**
   * Make the certificate the node's current one, if it is one of those; else nothing happens.
   * @throws {RksError} AUDIT_UNWRITABLE, NODE_BANNED, IDENTITY_CLONED, NODE_EVICTED, and as the store does.
   */
  async adopt(presented: PresentedCertificate, leaf: Uint8Array): Promise<void> {
    const { clock, certificates, audit } = this.#ports;
    const adoption = this.#open;
    if (adoption === undefined) return;
    if (clock.now() >= Date.parse(adoption.until)) {
      this.#open = undefined;
      return;
    }
    const { notBefore } = parseCertificate(leaf);
    if (notBefore < Date.parse(adoption.from) - SKEW_MS) return;
    if (!(await this.#isUnknown(presented, adoption)) || (await certificates.isKnown(presented.serialNumber)))
      return;
    const { name, serialNumber } = presented;
    const fields = { nodeName: name, serialNumber, epoch: adoption.epoch };
    await audited(audit, { operation: "node.adopt", actor: `node ${name}`, fields }, async () => ({
      value: await untilCommitted(nodeIsChanging(name), () => this.#adopt(presented, leaf, adoption)),
    }));
  }

  async #isUnknown(presented: PresentedCertificate, { epoch }: Adoption): Promise<boolean> {
    const stored = await nodeRecords(this.#ports.barrier).read(presented.name);
    if (stored === undefined || stored.record.adoptedIn === epoch) return false;
    assertWelcome(stored.record);
    return standingOf(stored.record, presented) === "neither";
  }

  async #adopt(
    presented: PresentedCertificate,
    leaf: Uint8Array,
    { epoch }: Adoption,
  ): Promise<true | undefined> {
    const { barrier, certificates } = this.#ports;
    const nodes = nodeRecords(barrier);
    const stored = await nodes.read(presented.name);
    if (stored === undefined) throw nodeEvicted(presented.name);
    const { serialNumber, spkiSha256, notAfter } = presented;
    const { next: _, ...record } = stored.record;
    const adopted = {
      ...record,
      serialNumber,
      spkiSha256,
      notAfter: new Date(notAfter).toISOString(),
      generation: record.generation + 1,
      adoptedIn: epoch,
    };
    const writes = [nodes.put(presented.name, adopted), ...certificates.writes(leaf)];
    const { succeeded } = await barrier.transaction([nodes.unchanged(presented.name, stored)], writes);
    return succeeded ? true : undefined;
  }
}
