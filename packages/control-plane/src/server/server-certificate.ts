import type { Clock, Credentials, Logger, ServerConfig } from "@rk8s/protocol";
import { RksError, settledWithin } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import type { AuditLog } from "../audit/audit-log.js";
import { audited } from "../audit/audited.js";
import type { ClusterCa } from "../pki/cluster-ca.js";

/** Pause before another try when a renewal failed; shorter for certificates that live only seconds. */
const MAX_RETRY_MS = 60_000;
const MIN_RETRY_MS = 1_000;
/** How long a step of a root rotation waits for the listener. */
const MAX_FOLLOW_MS = 5_000;
/** Longest single sleep towards a renewal: the wall clock may jump meanwhile, either way. */
const MAX_SLEEP_MS = 60_000;

export interface ServerCertificateInit {
  /** Names besides `rks-cluster`. */
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  readonly ttlSeconds: number;
}

export interface ServerCertificatePorts {
  readonly clusterCa: Pick<ClusterCa, "prepareServerCertificate" | "clientRoots" | "trust">;
  readonly barrier: Storage;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What a listener is configured with, and until when that is good. */
export interface IssuedServerConfig {
  readonly config: ServerConfig;
  readonly notAfter: number;
  /** Of the cluster's roots that it was made for. */
  readonly generation: number;
}

/** Issues the control plane's own short-lived certificates, each with a key of its own. */
export class ServerCertificate {
  readonly #init: ServerCertificateInit;
  readonly #ports: ServerCertificatePorts;
  #notAfter: number | undefined;
  #generation = -1;
  /** Ends the pause before the next renewal. */
  #wake: (() => void) | undefined;
  #followers: (() => void)[] = [];

  constructor(init: ServerCertificateInit, ports: ServerCertificatePorts) {
    this.#init = init;
    this.#ports = ports;
  }

  /** Of the newest certificate, milliseconds; undefined before the first. */
  get notAfter(): number | undefined {
    return this.#notAfter;
  }

  /** Generation of the cluster's roots that is served with; -1 before the first certificate. */
  get generation(): number {
    return this.#generation;
  }

  /**
   * The cluster's roots have changed: serve with the new ones. Resolves once that is done, or when it takes too long; then it
   * goes on by itself.
   */
  async follow(): Promise<void> {
    if (!this.#isBehind) return;
    const followed = new Promise<void>((resolve) => this.#followers.push(resolve));
    this.#wake?.();
    await settledWithin(followed, { clock: this.#ports.clock, timeoutMs: MAX_FOLLOW_MS });
  }

  /**
   * Issue a certificate. The key is the caller's to hand over and wipe.
   * @throws {RksError} AUDIT_UNWRITABLE, VAULT_NOT_INITIALIZED, INPUT_INVALID for names that no certificate
   * carries, and as the storage.
   */
  async issue(): Promise<IssuedServerConfig> {
    const { clusterCa, barrier, audit } = this.#ports;
    const { generation } = clusterCa.trust();
    const { clientRoots } = clusterCa;
    const prepared = clusterCa.prepareServerCertificate(this.#init);
    const { serialNumber, notAfter, privateKey } = prepared;
    const { dnsNames, ipAddresses } = this.#init;
    const fields = { serialNumber, dnsNames, ipAddresses, notAfter: new Date(notAfter).toISOString() };
    try {
      await audited(audit, { operation: "server-certificate.issue", actor: "rks", fields }, async () => ({
        value: await barrier.transaction([], prepared.writes),
      }));
    } catch (error) {
      privateKey.fill(0);
      throw error;
    }
    this.#notAfter = notAfter;
    const credentials: Credentials = {
      certificateChain: [prepared.certificate, ...prepared.chain],
      privateKey,
    };
    return { config: { credentials, clientRoots }, notAfter, generation };
  }

  /**
   * Renew at two thirds of each certificate's life by the wall clock, when that was put back to before it was issued, and
   * when the cluster's roots have changed; with patience; until aborted.
   */
  async keepFresh(
    first: Pick<IssuedServerConfig, "notAfter" | "generation">,
    use: (config: ServerConfig) => void,
    options: { readonly signal: AbortSignal },
  ): Promise<void> {
    const { clock, logger } = this.#ports;
    const { signal } = options;
    let { notAfter } = first;
    this.#generation = first.generation;
    let issuedAt = clock.now();
    let pauseMs = this.#isBehind ? 0 : ((notAfter - issuedAt) * 2) / 3;
    while (!signal.aborted) {
      if (pauseMs > 0) await this.#sleepUntil(clock.now() + pauseMs, issuedAt - MAX_SLEEP_MS, signal);
      if (signal.aborted) return;
      try {
        const issued = await this.issue();
        try {
          use(issued.config);
        } finally {
          issued.config.credentials.privateKey.fill(0);
        }
        this.#generation = issued.generation;
        if (!this.#isBehind) for (const followed of this.#followers.splice(0)) followed();
        notAfter = issued.notAfter;
        issuedAt = clock.now();
        // The roots may have changed again meanwhile, when nobody slept who could be woken.
        pauseMs = this.#isBehind ? 0 : ((notAfter - issuedAt) * 2) / 3;
        logger.info("Server certificate renewed", { notAfter: new Date(notAfter).toISOString() });
      } catch (reason) {
        const { code, message } = RksError.from(reason);
        logger.warn("Server certificate could not be renewed", { code, reason: message });
        pauseMs = Math.max(MIN_RETRY_MS, Math.min(MAX_RETRY_MS, (notAfter - clock.now()) / 12));
      }
    }
  }

  get #isBehind(): boolean {
    return this.#generation !== this.#ports.clusterCa.trust().generation;
  }

  /** Until the wall clock says `dueAt`, or has gone back to before `earliest`, or somebody wakes us. Never rejects. */
  async #sleepUntil(dueAt: number, earliest: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#ports;
    const pause = new AbortController();
    const wake = (): void => pause.abort();
    this.#wake = wake;
    signal.addEventListener("abort", wake, { once: true });
    try {
      for (let left = dueAt - clock.now(); left > 0 && !signal.aborted; left = dueAt - clock.now()) {
        await clock.sleep(Math.min(left, MAX_SLEEP_MS), { signal: pause.signal }).catch(() => undefined);
        if (clock.now() < earliest || pause.signal.aborted) return;
      }
    } finally {
      this.#wake = undefined;
      signal.removeEventListener("abort", wake);
    }
  }
}
