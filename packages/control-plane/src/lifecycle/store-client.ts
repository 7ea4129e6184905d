import { readFile } from "node:fs/promises";
import { type Clock, equalBytes, type Logger, RksError } from "@rk8s/protocol";
import { decodePemCertificates, parseCertificate } from "@rk8s/x509";
import { audited } from "../audit/audited.js";
import type { AuditLog } from "../audit/audit-log.js";
import type { ClusterCa } from "../pki/cluster-ca.js";
import { Serial } from "../vault/serial.js";
import { issuerOf } from "../pki/cluster-roots.js";
import { exists } from "./durable-file.js";
import { type StoreCertificatePorts, writeClient } from "./store-certificates.js";

type Certificate = ReturnType<typeof parseCertificate>;

/** Between two looks at the certificate; the clock may jump, and the roots may change. */
const LOOK_MS = 60_000;

export interface StoreClientPorts extends StoreCertificatePorts {
  readonly clusterCa: StoreCertificatePorts["clusterCa"] & Pick<ClusterCa, "roots">;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called when there is another certificate. It must not throw. */
  readonly onRenewed: () => Promise<void>;
}

/** The certificate with which rks is the client of its external store: made when it is needed, renewed in time. */
export class StoreClient {
  readonly #file: string;
  readonly #ports: StoreClientPorts;
  readonly #looks = new Serial();

  /** `file`: where it is kept; nobody has to have made it. */
  constructor(file: string, ports: StoreClientPorts) {
    this.#file = file;
    this.#ports = ports;
  }

  /**
   * Make the certificate, unless there is one that is good for a while and of who signs now.
   * @throws {RksError} AUDIT_UNWRITABLE, STORAGE_FULL, STORAGE_UNWRITABLE, and as the store does.
   */
  ensure(): Promise<void> {
    return this.#looks.run(() => this.#ensure());
  }

  /** Renew the certificate if it is time for that and there is one. Never rejects. */
  async look(): Promise<void> {
    try {
      if (await exists(this.#file)) await this.ensure();
    } catch (reason) {
      const { code, message } = RksError.from(reason);
      this.#ports.logger.warn("Certificate for the store could not be renewed", { code, reason: message });
    }
  }

  /** Renew the certificate when two thirds of its life are over, as long as there is one; until aborted. Never rejects. */
  async keepFresh(signal: AbortSignal): Promise<void> {
    const { clock } = this.#ports;
    while (!signal.aborted) {
      await this.look();
      await clock.sleep(LOOK_MS, { signal }).catch(() => undefined);
    }
  }

  async #ensure(): Promise<void> {
    const { audit, clock, logger, onRenewed } = this.#ports;
    if (this.#isGood(await this.#present(), clock.now())) return;
    const event = { operation: "store-certificate.issue", actor: "rks", fields: { file: this.#file } };
    await audited(audit, event, async () => {
      const { notAfter } = await writeClient(this.#file, this.#ports);
      const fields = { notAfter: new Date(notAfter).toISOString() };
      logger.info("Certificate for the store made", fields);
      return { value: undefined, fields };
    });
    await onRenewed();
  }

  #isGood(chain: readonly Certificate[], now: number): boolean {
    const [leaf] = chain;
    if (leaf === undefined) return false;
    const { notBefore, notAfter, issuer } = leaf;
    const signing = issuerOf(this.#ports.clusterCa.roots.active);
    const isOfSigning = equalBytes(issuer.der, signing.subject.der);
    return isOfSigning && now >= notBefore && now < notBefore + ((notAfter - notBefore) * 2) / 3;
  }

  /** Leaf first; empty: it is not there, or nothing that could be used. */
  async #present(): Promise<readonly Certificate[]> {
    try {
      const pem = await readFile(this.#file);
      const chain = decodePemCertificates(pem).map((der) => parseCertificate(der));
      pem.fill(0);
      return chain;
    } catch {
      return [];
    }
  }
}
