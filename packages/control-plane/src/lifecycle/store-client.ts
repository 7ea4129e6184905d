import { readFile } from "node:fs/promises";
import { type Clock, equalBytes, type Logger, RksError } from "@rk8s/protocol";
import { decodePemCertificates, parseCertificate } from "@rk8s/x509";
import { audited } from "../audit/audited.js";
import type { AuditLog } from "../audit/audit-log.js";
import { Serial } from "../vault/serial.js";
import { exists } from "./durable-file.js";
import { type StoreCertificatePorts, writeClient } from "./store-certificates.js";

type Certificate = ReturnType<typeof parseCertificate>;

/** Between two looks at the certificate; the clock may jump, and the roots may change. */
const LOOK_MS = 60_000;

export interface StoreClientPorts extends StoreCertificatePorts {
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
   * Make the certificate, unless there is one that is good for a while and leads to the root that signs now.
   * @throws {RksError} AUDIT_UNWRITABLE, STORAGE_FULL, STORAGE_UNWRITABLE, and as the store does.
   */
  ensure(): Promise<void> {
    return this.#looks.run(() => this.#ensure());
  }

  /** Renew the certificate when two thirds of its life are over, as long as there is one; until aborted. Never rejects. */
  async keepFresh(signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#ports;
    while (!signal.aborted) {
      try {
        if (await exists(this.#file)) await this.ensure();
      } catch (reason) {
        const { code, message } = RksError.from(reason);
        logger.warn("Certificate for the store could not be renewed", { code, reason: message });
      }
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
    const [signing] = this.#ports.clusterCa.trust().bundle;
    if (leaf === undefined || signing === undefined) return false;
    const { notBefore, notAfter } = leaf;
    const root = parseCertificate(signing).subject.der;
    const isOfActiveRoot = chain.some(({ issuer }) => equalBytes(issuer.der, root));
    return isOfActiveRoot && now >= notBefore && now < notBefore + ((notAfter - notBefore) * 2) / 3;
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
