import { type Clock, type Logger, RksError } from "@rk8s/protocol";
import type { StoreMemberCertificate, StoreTrial } from "../store/choose-store.js";
import { listed } from "./listed.js";
import { isNearEnd } from "./near-end.js";

/** Members get certificates from people, who have weeks for it. */
const LOOK_MS = 3_600_000;
const SAY_AGAIN_MS = 24 * 3_600_000;
const REMEDY =
  "run `rks gen xline-certs` and copy each folder to its member of the store, which reads certificates anew by itself";

export interface StoreExpiryPorts {
  readonly tryStore?: (() => Promise<StoreTrial>) | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Looks at the certificates of the external store's members. They are the only ones of a cluster that nobody renews by himself:
 * when they end, rks cannot read its store any more, and only rks can make others.
 */
export class StoreExpiry {
  readonly #ports: StoreExpiryPorts;
  #first: number | undefined;
  #saidAt = -Infinity;

  constructor(ports: StoreExpiryPorts) {
    this.#ports = ports;
  }

  /** The end of the certificate that ends first, milliseconds; undefined before the first look, and where there is none. */
  get firstNotAfter(): number | undefined {
    return this.#first;
  }

  /** Look, and say when it is time, until aborted. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#ports;
    while (!signal.aborted) {
      await this.#look();
      await clock.sleep(LOOK_MS, { signal, background: true }).catch(() => undefined);
    }
  }

  async #look(): Promise<void> {
    const { tryStore, clock, logger } = this.#ports;
    try {
      const certificates = (await tryStore?.())?.certificates ?? [];
      this.#first = certificates.length === 0 ? undefined : firstOf(certificates);
      const warnings = expiryWarnings(certificates, clock.now());
      if (warnings.length === 0 || clock.monotonicMs() - this.#saidAt < SAY_AGAIN_MS) return;
      this.#saidAt = clock.monotonicMs();
      for (const warning of warnings) logger.warn("Time for new certificates of the store", { warning });
    } catch (reason) {
      const { code, message } = RksError.from(reason);
      logger.warn("Certificates of the store's members could not be looked at", { code, reason: message });
    }
  }
}

/** What to say of the certificates of the store's members, for people. */
export function expiryWarnings(
  certificates: readonly StoreMemberCertificate[],
  now: number,
): readonly string[] {
  const ending = certificates.filter((certificate) => isNearEnd(certificate, now));
  if (ending.length === 0) return [];
  const names = listed(ending.map(({ endpoint }) => endpoint));
  const end = new Date(firstOf(ending)).toISOString();
  return [
    `the certificates of ${names} end, the first of them at ${end}, and then rks cannot read its store any more: ${REMEDY}`,
  ];
}

function firstOf(certificates: readonly StoreMemberCertificate[]): number {
  return Math.min(...certificates.map(({ notAfter }) => notAfter));
}
