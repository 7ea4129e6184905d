import { setImmediate as nextTurn } from "node:timers/promises";
import { RksError } from "@rk8s/protocol";
import { parseCertificate } from "@rk8s/x509";
import type { Ending, ExpiryIndex } from "../certificate/expiry-index.js";
import type { PkiMount } from "../pki-mount.js";
import { crlIdOf } from "./crl-signer.js";
import { issuerOf } from "./revoke.js";
import { pageSize, type TidySettings } from "./tidy-settings.js";

/** What of a mount a tidy works with. */
export type TidiedMount = Omit<PkiMount, "tidy">;

/** What a tidy has done so far. */
export interface TidyProgress {
  message: string | null;
  certStoreDeleted: number;
  revokedDeleted: number;
  missingIssuer: number;
  /** Entries that were passed over because they are damaged. */
  skipped: number;
}

/** Certificates whose two keys fit into one transaction, and revocations that do. */
const CERTIFICATES_AT_ONCE = 50;
const REVOCATIONS_AT_ONCE = 20;

/**
 * Tidy a mount: forget what ended long enough ago. Everything is found by the indexes, so a tidy that was broken off
 * begins again where it was. A damaged entry is passed over and counted.
 * @throws {RksError} what the storage throws when it cannot be written; the signal's reason when it is aborted.
 */
export async function runTidy(
  pki: TidiedMount,
  settings: TidySettings,
  run: { readonly progress: TidyProgress; readonly signal: AbortSignal },
): Promise<void> {
  const tidy = new TidyRun(pki, settings, run);
  if (settings.tidy_invalid_certs) await tidy.invalidCertificates();
  if (settings.tidy_revoked_cert_issuer_associations) await tidy.issuerAssociations();
  if (settings.tidy_cert_store) await tidy.certificates();
  if (settings.tidy_revoked_certs) await tidy.revocations();
  if (settings.tidy_expired_issuers) await tidy.issuers();
  run.progress.message = null;
}

class TidyRun {
  readonly #pki: TidiedMount;
  readonly #settings: TidySettings;
  readonly #progress: TidyProgress;
  readonly #signal: AbortSignal;
  readonly #page: number;
  readonly #now: number;

  constructor(
    pki: TidiedMount,
    settings: TidySettings,
    run: { readonly progress: TidyProgress; readonly signal: AbortSignal },
  ) {
    this.#pki = pki;
    this.#settings = settings;
    this.#progress = run.progress;
    this.#signal = run.signal;
    this.#page = pageSize(settings);
    this.#now = pki.clock.now();
  }

  async certificates(): Promise<void> {
    const { certificates, revocations, storage } = this.#pki;
    const { safety_buffer: buffer } = this.#settings;
    const revokedBefore = this.#revokedBeforeMs();
    const range = {
      index: certificates.byEnd,
      beforeMs: this.#now - buffer * 1000,
      atOnce: CERTIFICATES_AT_ONCE,
      what: "certificate store",
    };
    await this.#eachBatch(range, async (batch) => {
      const ended: Ending[] = [];
      for (const ending of batch) {
        const isKept =
          ending.notAfterMs >= revokedBefore && (await revocations.find(ending.serialNumber)) !== undefined;
        if (!isKept) ended.push(ending);
      }
      const writes = ended.flatMap((one) => certificates.deletes(one.serialNumber, one.notAfterMs));
      if (writes.length > 0) await storage.transaction([], writes);
      this.#progress.certStoreDeleted += ended.length;
    });
  }

  async revocations(): Promise<void> {
    const { certificates, revocations } = this.#pki;
    const range = {
      index: revocations.byEnd,
      beforeMs: this.#revokedBeforeMs(),
      atOnce: REVOCATIONS_AT_ONCE,
      what: "revoked certificates",
    };
    await this.#eachBatch(range, async (batch) => {
      const ends = new Map(batch.map(({ serialNumber, notAfterMs }) => [serialNumber, notAfterMs]));
      this.#progress.revokedDeleted += await revocations.remove([...ends.keys()], (serialNumber) =>
        certificates.deletes(serialNumber, ends.get(serialNumber) ?? 0),
      );
    });
  }

  /** Find the lists of revoked certificates that are in none since their issuers were not there. */
  async issuerAssociations(): Promise<void> {
    const { certificates, revocations } = this.#pki;
    for (let after: string | undefined, more = true; more;) {
      const page = await revocations.list({ limit: this.#page, ...(after === undefined ? {} : { after }) });
      for (const record of page.records) {
        if (record.crlId !== "") continue;
        const assigned = await revocations.assign([record], async ({ serialNumber }) => {
          const kept = await certificates.read(serialNumber);
          const issuer = kept === undefined ? undefined : issuerOf(this.#pki, parseCertificate(kept.der));
          return issuer === undefined
            ? undefined
            : { crlId: crlIdOf(issuer.certificate), issuerId: issuer.id };
        });
        if (assigned === 0) this.#progress.missingIssuer += 1;
        await this.#pause();
      }
      after = page.records.at(-1)?.serialNumber;
      more = page.more && after !== undefined;
      await this.#breathe();
    }
  }

  /** Forget certificates that cannot be parsed; their entries in the index go when their time comes. */
  async invalidCertificates(): Promise<void> {
    const { certificates, storage } = this.#pki;
    for (let after: string | undefined, more = true; more;) {
      const page = await certificates.list({ limit: this.#page, ...(after === undefined ? {} : { after }) });
      for (const serialNumber of page.serialNumbers) {
        if (await this.#isReadable(serialNumber)) continue;
        const [certificate] = certificates.deletes(serialNumber, 0);
        if (certificate !== undefined) await storage.transaction([], [certificate]);
        this.#progress.certStoreDeleted += 1;
        await this.#pause();
      }
      after = page.serialNumbers.at(-1);
      more = page.more && after !== undefined;
      await this.#breathe();
    }
  }

  /** Delete issuers that ended long ago, all but the default; keys stay. */
  async issuers(): Promise<void> {
    const before = this.#now - this.#settings.issuer_safety_buffer * 1000;
    await this.#pki.issuers.change((change) => {
      const { issuers, defaultIssuerId } = change.state;
      for (const { id, certificate } of issuers.values()) {
        if (id !== defaultIssuerId && certificate.notAfter < before) change.deleteIssuer(id);
      }
    });
  }

  async #eachBatch(
    range: {
      readonly index: ExpiryIndex;
      readonly beforeMs: number;
      readonly atOnce: number;
      readonly what: string;
    },
    action: (batch: readonly Ending[]) => Promise<void>,
  ): Promise<void> {
    const { index, beforeMs, what } = range;
    const size = this.#settings.pause_duration > 0 ? 1 : range.atOnce;
    let checked = 0;
    for await (const endings of index.pages({ beforeMs, limit: this.#page })) {
      for (let at = 0; at < endings.length; at += size) {
        const batch = endings.slice(at, at + size);
        await this.#passingOverDamage(batch, action);
        checked += batch.length;
        this.#progress.message = `Tidying ${what}: checked ${checked} entries`;
        await this.#pause();
        await this.#breathe();
      }
    }
  }

  /** Do a batch; when something in it is damaged, do the others one by one. */
  async #passingOverDamage(
    batch: readonly Ending[],
    action: (batch: readonly Ending[]) => Promise<void>,
  ): Promise<void> {
    try {
      await action(batch);
    } catch (error) {
      if (RksError.from(error).code !== "STORAGE_CORRUPT") throw error;
      if (batch.length === 1) this.#progress.skipped += 1;
      else for (const ending of batch) await this.#passingOverDamage([ending], action);
    }
  }

  async #isReadable(serialNumber: string): Promise<boolean> {
    try {
      const record = await this.#pki.certificates.read(serialNumber);
      if (record !== undefined) parseCertificate(record.der);
      return true;
    } catch (error) {
      const { code } = RksError.from(error);
      if (code === "CERTIFICATE_INVALID" || code === "STORAGE_CORRUPT") return false;
      throw error;
    }
  }

  #revokedBeforeMs(): number {
    const { revoked_safety_buffer: revoked, safety_buffer: plain } = this.#settings;
    return this.#now - (revoked === 0 ? plain : revoked) * 1000;
  }

  async #pause(): Promise<void> {
    const seconds = this.#settings.pause_duration;
    if (seconds > 0) await this.#pki.clock.sleep(seconds * 1000, { signal: this.#signal });
    this.#signal.throwIfAborted();
  }

  /** Let others have the event loop. */
  async #breathe(): Promise<void> {
    await nextTurn();
    this.#signal.throwIfAborted();
  }
}
