import { parseDuration, RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { z } from "zod";
import type { JsonObject } from "../../vault/backend.js";
import { flag, type Field } from "../../vault/field-types.js";

/** How a mount publishes what it revoked; names, defaults and the texts of durations are Vault's. */
export interface CrlSettings {
  readonly expiry: string;
  readonly disable: boolean;
  readonly ocsp_disable: boolean;
  readonly ocsp_expiry: string;
  readonly auto_rebuild: boolean;
  readonly auto_rebuild_grace_period: string;
  readonly enable_delta: boolean;
  readonly delta_rebuild_interval: string;
  readonly allow_expired_cert_revocation: boolean;
}

const CONFIG = "config/crl";
const DEFAULTS: CrlSettings = {
  expiry: "72h",
  disable: false,
  ocsp_disable: false,
  ocsp_expiry: "12h",
  auto_rebuild: false,
  auto_rebuild_grace_period: "12h",
  enable_delta: false,
  delta_rebuild_interval: "15m",
  allow_expired_cert_revocation: false,
};
/** A list that is valid for longer says nothing. */
const MAX_EXPIRY_SECONDS = 10 * 366 * 86_400;

/** Fields of `config/crl`; what is not sent stays as it is. */
export const crlFields = z.object({
  expiry: durationText(),
  disable: flag(),
  ocsp_disable: flag(),
  ocsp_expiry: durationText(),
  auto_rebuild: flag(),
  auto_rebuild_grace_period: durationText(),
  enable_delta: flag(),
  delta_rebuild_interval: durationText(),
  allow_expired_cert_revocation: flag(),
});

const storedSchema = z.object({
  expiry: z.string(),
  disable: z.boolean(),
  ocsp_disable: z.boolean(),
  ocsp_expiry: z.string(),
  auto_rebuild: z.boolean(),
  auto_rebuild_grace_period: z.string(),
  enable_delta: z.boolean(),
  delta_rebuild_interval: z.string(),
  allow_expired_cert_revocation: z.boolean(),
});

/** `config/crl` of a mount, with its durations in milliseconds. */
export class CrlConfig {
  readonly #storage: Storage;
  readonly #key: string;
  #settings: CrlSettings;
  #version = 0;

  private constructor(storage: Storage, key: string, settings: CrlSettings) {
    this.#storage = storage;
    this.#key = key;
    this.#settings = settings;
  }

  /** @throws {RksError} STORAGE_CORRUPT. */
  static async open(storage: Storage, prefix: string): Promise<CrlConfig> {
    const key = prefix + CONFIG;
    const entry = await storage.get(key);
    return new CrlConfig(storage, key, entry === undefined ? DEFAULTS : decode(entry.value, key));
  }

  get settings(): CrlSettings {
    return this.#settings;
  }

  /** Grows with every change, so that lists made before it can be told. */
  get version(): number {
    return this.#version;
  }

  get expiryMs(): number {
    return parseDuration(this.#settings.expiry) * 1000;
  }

  /** 0: answers do not say until when they hold. */
  get ocspExpiryMs(): number {
    return parseDuration(this.#settings.ocsp_expiry) * 1000;
  }

  get deltaIntervalMs(): number {
    return parseDuration(this.#settings.delta_rebuild_interval) * 1000;
  }

  /** How long before its end a list is made again: never more than half of its life. */
  get graceMs(): number {
    return Math.min(parseDuration(this.#settings.auto_rebuild_grace_period) * 1000, this.expiryMs / 2);
  }

  /** Change what is given. @throws {RksError} INPUT_INVALID when it does not go together. */
  async update(changes: z.output<typeof crlFields>): Promise<void> {
    const given = Object.entries(changes).filter(([, value]) => value !== undefined);
    const settings: CrlSettings = { ...this.#settings, ...Object.fromEntries(given) };
    assertSettings(settings);
    const value = Buffer.from(JSON.stringify(settings));
    await this.#storage.transaction([], [{ type: "put", key: this.#key, value }]);
    this.#settings = settings;
    this.#version += 1;
  }

  /** What reading `config/crl` answers. */
  get data(): JsonObject {
    return { ...this.#settings };
  }
}

function assertSettings(settings: CrlSettings): void {
  const expiry = parseDuration(settings.expiry);
  const grace = parseDuration(settings.auto_rebuild_grace_period);
  const interval = parseDuration(settings.delta_rebuild_interval);
  if (expiry <= 0 || expiry > MAX_EXPIRY_SECONDS) {
    throw refused(`expiry "${settings.expiry}" is not more than 0 and at most ten years`, "Give expiry=72h.");
  }
  if (parseDuration(settings.ocsp_expiry) > MAX_EXPIRY_SECONDS) {
    throw refused(`ocsp_expiry "${settings.ocsp_expiry}" is more than ten years`, "Give ocsp_expiry=12h.");
  }
  if (settings.auto_rebuild && grace >= expiry) {
    throw refused(
      `auto_rebuild_grace_period "${settings.auto_rebuild_grace_period}" must be shorter than expiry "${settings.expiry}" when auto_rebuild is on`,
      "Give a shorter auto_rebuild_grace_period or a longer expiry.",
    );
  }
  if (settings.enable_delta && !settings.auto_rebuild) {
    throw refused(
      "delta CRLs cannot be enabled without auto_rebuild: every complete CRL is up to date then",
      "Give auto_rebuild=true with enable_delta=true.",
    );
  }
  if (settings.enable_delta && interval >= expiry) {
    throw refused(
      `delta_rebuild_interval "${settings.delta_rebuild_interval}" must be shorter than expiry "${settings.expiry}"`,
      "Give a shorter delta_rebuild_interval or a longer expiry.",
    );
  }
}

/** A duration that keeps the words it was given in. */
function durationText(): Field<string | undefined> {
  return z
    .unknown()
    .optional()
    .transform((value, context) => {
      if (value === undefined || value === null || value === "") return undefined;
      const isSeconds = typeof value === "number" || (typeof value === "string" && /^\d{1,12}$/.test(value));
      const text = isSeconds ? `${value}s` : value;
      try {
        if (typeof text === "string" && parseDuration(text) >= 0) return text.trim();
      } catch {
        // Told below, as of any other field.
      }
      const message = `expected a duration like 72h or 15m, got ${JSON.stringify(value).slice(0, 80)}`;
      context.addIssue({ code: "custom", message, input: value });
      return z.NEVER;
    })
    .meta({ type: "duration" });
}

function decode(value: Uint8Array, key: string): CrlSettings {
  try {
    return storedSchema.parse(JSON.parse(new TextDecoder().decode(value)));
  } catch (cause) {
    throw new RksError("STORAGE_CORRUPT", `the PKI record "${key}" cannot be read`, {
      cause,
      suggestion: "Restore the data folder from a backup.",
    });
  }
}

function refused(problem: string, suggestion: string): RksError {
  return new RksError("INPUT_INVALID", problem, { suggestion });
}
