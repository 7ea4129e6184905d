import { setImmediate as nextTurn } from "node:timers/promises";
import { type Clock, LinkedAbort, RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { z } from "zod";
import type { Stewardship } from "../../vault/members/stewardship.js";
import type { JsonObject } from "../../vault/backend.js";
import type { ExpiryIndex } from "../certificate/expiry-index.js";
import { runTidy, type TidiedMount, type TidyProgress } from "./tidy-run.js";
import {
  type AutoTidySettings,
  autoSchema,
  settingsSchema,
  tidyData,
  type TidySettings,
} from "./tidy-settings.js";

/** What a tidy is doing, in Vault's words. */
type TidyState = "Inactive" | "Running" | "Finished" | "Error" | "Cancelling" | "Cancelled";

interface Run extends TidyProgress {
  state: TidyState;
  error: string | null;
  readonly settings: TidySettings;
  readonly isAutomatic: boolean;
  readonly startedMs: number;
  finishedMs: number | undefined;
}

interface Counts {
  readonly certificates: number;
  readonly revoked: number;
}

const CONFIG = "config/auto-tidy";
const STATE = "tidy-state";
/** The wall clock may jump while a loop sleeps, so it looks again at least this often. */
const MAX_SLEEP_MS = 5 * 60_000;
const stateSchema = z.object({
  /** Of the tidy that was broken off by the end of the process. */
  running: settingsSchema.optional(),
  lastAutoFinishedMs: z.number().default(0),
});
const configSchema = settingsSchema.extend(autoSchema.shape);

/**
 * Tidies of a mount: at most one at a time, begun by hand or by `config/auto-tidy`, continued after a restart. It runs
 * beside everything else until it is done, cancelled or the mount is closed.
 */
export class Tidy implements AsyncDisposable {
  readonly #pki: TidiedMount;
  readonly #storage: Storage;
  readonly #prefix: string;
  readonly #clock: Clock;
  readonly #stewardship: Stewardship;
  readonly #closing = new AbortController();
  #config: AutoTidySettings;
  #lastAutoFinishedMs: number;
  #run: Run | undefined;
  #cancelling = new AbortController();
  #running: Promise<void> | undefined;
  #loop: Promise<void> | undefined;
  #rescheduling = new AbortController();
  #counts: Counts | undefined;

  private constructor(
    pki: TidiedMount,
    stewardship: Stewardship,
    config: AutoTidySettings,
    lastAutoFinishedMs: number,
  ) {
    this.#pki = pki;
    this.#stewardship = stewardship;
    this.#storage = pki.storage;
    this.#prefix = pki.mount.storagePrefix;
    this.#clock = pki.clock;
    this.#config = config;
    this.#lastAutoFinishedMs = lastAutoFinishedMs;
  }

  /** Read the configuration, go on with a tidy that was broken off, as far as it is this process that does so. @throws {RksError} STORAGE_CORRUPT. */
  static async open(pki: TidiedMount, stewardship: Stewardship): Promise<Tidy> {
    const config = await read(pki, CONFIG, configSchema);
    const state = await read(pki, STATE, stateSchema);
    const tidy = new Tidy(pki, stewardship, config, state.lastAutoFinishedMs || pki.clock.now());
    // What another process has begun may still be going on there.
    if (state.running !== undefined && stewardship.isHeld) tidy.#begin(state.running, false);
    tidy.#schedule();
    return tidy;
  }

  get config(): AutoTidySettings {
    return this.#config;
  }

  /** Keep another configuration; the next automatic tidy is timed by it. */
  async configure(config: AutoTidySettings): Promise<void> {
    await this.#write(CONFIG, config);
    await this.#writeState();
    this.#config = config;
    this.#schedule();
  }

  /** Begin a tidy. False when one is running. */
  async start(settings: TidySettings): Promise<boolean> {
    if (this.#running !== undefined) return false;
    this.#begin(settings, false);
    await this.#writeState();
    return true;
  }

  /** Stop the tidy that is running at its next step. False when there is none. */
  cancel(): boolean {
    if (this.#running === undefined || this.#run === undefined) return false;
    this.#run.state = "Cancelling";
    this.#cancelling.abort();
    return true;
  }

  /** Resolves when no tidy is running. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  /** What `tidy-status` answers. */
  get status(): JsonObject {
    const run = this.#run;
    const settings = run?.settings ?? settingsSchema.parse({});
    return {
      ...tidyData(settings),
      state: run?.state ?? "Inactive",
      error: run?.error ?? null,
      message: run?.message ?? null,
      time_started: run === undefined ? null : new Date(run.startedMs).toISOString(),
      time_finished: run?.finishedMs === undefined ? null : new Date(run.finishedMs).toISOString(),
      last_auto_tidy_finished: new Date(this.#lastAutoFinishedMs).toISOString(),
      cert_store_deleted_count: run?.certStoreDeleted ?? null,
      revoked_cert_deleted_count: run?.revokedDeleted ?? null,
      missing_issuer_cert_count: run?.missingIssuer ?? null,
      skipped_count: run?.skipped ?? null,
      current_cert_store_count: this.#counts?.certificates ?? null,
      current_revoked_cert_count: this.#counts?.revoked ?? null,
      revocation_queue_deleted_count: null,
      cross_revoked_cert_deleted_count: null,
      acme_orders_deleted_count: null,
      acme_account_revoked_count: null,
      acme_account_deleted_count: null,
      total_acme_account_count: null,
      internal_backend_uuid: this.#pki.mount.accessor,
    };
  }

  /** Break off whatever runs; it goes on when the mount is opened again. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    this.#rescheduling.abort();
    this.#cancelling.abort();
    await this.#running;
    await this.#loop;
  }

  #begin(settings: TidySettings, isAutomatic: boolean): void {
    const run: Run = {
      state: "Running",
      error: null,
      message: null,
      certStoreDeleted: 0,
      revokedDeleted: 0,
      missingIssuer: 0,
      skipped: 0,
      settings,
      isAutomatic,
      startedMs: this.#clock.now(),
      finishedMs: undefined,
    };
    this.#run = run;
    this.#cancelling = new AbortController();
    this.#running = this.#finish(run).finally(() => {
      this.#running = undefined;
    });
  }

  async #finish(run: Run): Promise<void> {
    using life = new LinkedAbort(this.#cancelling.signal, this.#closing.signal);
    const { signal } = life;
    try {
      await runTidy(this.#pki, run.settings, { progress: run, signal });
      if (this.#config.maintain_stored_certificate_counts) this.#counts = await this.#count();
      run.state = "Finished";
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      run.state = signal.aborted ? "Cancelled" : "Error";
      if (!signal.aborted) run.error = RksError.from(error).message;
    }
    run.finishedMs = this.#clock.now();
    if (run.isAutomatic) this.#lastAutoFinishedMs = run.finishedMs;
    try {
      await this.#writeState();
    } catch (error) {
      // The tidy is done; it will only be done again after a restart.
      run.error ??= RksError.from(error).message;
    }
  }

  #schedule(): void {
    this.#rescheduling.abort();
    this.#rescheduling = new AbortController();
    if (!this.#config.enabled || this.#closing.signal.aborted) return;
    const previous = this.#loop;
    const { signal } = this.#rescheduling;
    this.#loop = this.#keepTidy(signal, previous);
  }

  /** Tidy whenever the interval is over, until rescheduled or closed. */
  async #keepTidy(signal: AbortSignal, previous: Promise<void> | undefined): Promise<void> {
    await previous;
    for (; !signal.aborted; await nextTurn()) {
      const now = this.#clock.now();
      // A time to come was written before the clock was put back.
      this.#lastAutoFinishedMs = Math.min(this.#lastAutoFinishedMs, now);
      const leftMs = this.#lastAutoFinishedMs + this.#config.interval_duration * 1000 - now;
      if (leftMs > 0) {
        try {
          await this.#clock.sleep(Math.min(leftMs, MAX_SLEEP_MS), { signal, background: true });
        } catch {
          return;
        }
        continue;
      }
      await this.#stewardship.whenHeld(signal);
      await this.idle();
      if (signal.aborted) return;
      this.#begin(settingsSchema.parse(this.#config), true);
      await this.idle();
      // Also when it failed or was cancelled: it is tried again after the interval, not at once.
      this.#lastAutoFinishedMs = this.#clock.now();
    }
  }

  async #count(): Promise<Counts> {
    return {
      certificates: await countEntries(this.#pki.certificates.byEnd),
      revoked: await countEntries(this.#pki.revocations.byEnd),
    };
  }

  #writeState(): Promise<void> {
    const run = this.#run;
    const isRunning = run?.finishedMs === undefined && run !== undefined;
    const state: z.input<typeof stateSchema> = {
      ...(isRunning ? { running: run.settings } : {}),
      lastAutoFinishedMs: this.#lastAutoFinishedMs,
    };
    return this.#write(STATE, state);
  }

  async #write(name: string, value: object): Promise<void> {
    const key = this.#prefix + name;
    const bytes = Buffer.from(JSON.stringify(value));
    await this.#storage.transaction([], [{ type: "put", key, value: bytes }]);
  }
}

async function countEntries(index: ExpiryIndex): Promise<number> {
  let count = 0;
  for await (const page of index.pages()) count += page.length;
  return count;
}

async function read<T>(pki: TidiedMount, name: string, schema: z.ZodType<T>): Promise<T> {
  const key = pki.mount.storagePrefix + name;
  const entry = await pki.storage.get(key);
  try {
    return schema.parse(entry === undefined ? {} : JSON.parse(new TextDecoder().decode(entry.value)));
  } catch (cause) {
    throw new RksError("STORAGE_CORRUPT", `the PKI record "${key}" cannot be read`, {
      cause,
      suggestion: "Restore the data folder from a backup.",
    });
  }
}
