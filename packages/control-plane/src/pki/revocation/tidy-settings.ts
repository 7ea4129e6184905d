import { formatDuration, RksError } from "@rk8s/protocol";
import { z } from "zod";
import type { JsonObject } from "../../vault/backend.js";
import { duration, flag, integer } from "../../vault/field-types.js";

/** What a tidy is to do; names and defaults are Vault's, durations in seconds. */
export type TidySettings = Readonly<z.infer<typeof settingsSchema>>;

/** When tidies run by themselves, and what they do. */
export type AutoTidySettings = TidySettings & Readonly<z.infer<typeof autoSchema>>;

/** Things that this engine has not: they are accepted, and a warning says that nothing happens. */
const TIDY_WITHOUT_EFFECT = [
  "tidy_move_legacy_ca_bundle",
  "tidy_acme",
  "tidy_revocation_queue",
  "tidy_cross_cluster_revoked_certs",
] as const;
/** What a tidy really does. */
const TIDY_TARGETS = [
  "tidy_cert_store",
  "tidy_revoked_certs",
  "tidy_revoked_cert_issuer_associations",
  "tidy_expired_issuers",
  "tidy_invalid_certs",
] as const;

const DAY = 86_400;
const MIN_PAGE = 5;
const MAX_PAGE = 1000;

export const settingsSchema = z.object({
  tidy_cert_store: z.boolean().default(false),
  tidy_revoked_certs: z.boolean().default(false),
  tidy_revoked_cert_issuer_associations: z.boolean().default(false),
  tidy_expired_issuers: z.boolean().default(false),
  tidy_invalid_certs: z.boolean().default(false),
  tidy_move_legacy_ca_bundle: z.boolean().default(false),
  tidy_acme: z.boolean().default(false),
  tidy_revocation_queue: z.boolean().default(false),
  tidy_cross_cluster_revoked_certs: z.boolean().default(false),
  safety_buffer: z.int().default(3 * DAY),
  /** 0: as `safety_buffer`. */
  revoked_safety_buffer: z.int().default(0),
  issuer_safety_buffer: z.int().default(365 * DAY),
  acme_account_safety_buffer: z.int().default(30 * DAY),
  revocation_queue_safety_buffer: z.int().default(2 * DAY),
  pause_duration: z.int().default(0),
  page_size: z.int().default(MAX_PAGE),
});

export const autoSchema = z.object({
  enabled: z.boolean().default(false),
  interval_duration: z.int().default(DAY / 2),
  maintain_stored_certificate_counts: z.boolean().default(false),
  publish_stored_certificate_count_metrics: z.boolean().default(false),
});

const tidyFieldTypes = {
  tidy_cert_store: flag(),
  tidy_revoked_certs: flag(),
  /** The old name of `tidy_revoked_certs`. */
  tidy_revocation_list: flag(),
  tidy_revoked_cert_issuer_associations: flag(),
  tidy_expired_issuers: flag(),
  tidy_invalid_certs: flag(),
  tidy_move_legacy_ca_bundle: flag(),
  tidy_acme: flag(),
  tidy_revocation_queue: flag(),
  tidy_cross_cluster_revoked_certs: flag(),
  safety_buffer: duration(),
  revoked_safety_buffer: duration(),
  issuer_safety_buffer: duration(),
  acme_account_safety_buffer: duration(),
  revocation_queue_safety_buffer: duration(),
  pause_duration: duration(),
  page_size: integer(),
};

/** Fields of `tidy`; what is not sent has its default. */
export const tidyFields = z.object(tidyFieldTypes);

/** Fields of `config/auto-tidy`; what is not sent stays as it is. */
export const autoTidyFields = z.object({
  ...tidyFieldTypes,
  enabled: flag(),
  interval_duration: duration(),
  maintain_stored_certificate_counts: flag(),
  publish_stored_certificate_count_metrics: flag(),
});

/** Settings with the defaults, or others, where nothing was sent. @throws {RksError} INPUT_INVALID for those that make no sense. */
export function tidySettings(
  fields: z.output<typeof tidyFields>,
  base: TidySettings = settingsSchema.parse({}),
): TidySettings {
  const { tidy_revocation_list: oldName, ...given } = fields;
  const settings = settingsSchema.parse({
    ...base,
    ...sent(given),
    tidy_revoked_certs: given.tidy_revoked_certs ?? oldName ?? base.tidy_revoked_certs,
  });
  for (const name of ["safety_buffer", "issuer_safety_buffer"] as const) {
    if (settings[name] < 1) {
      throw new RksError("INPUT_INVALID", `${name} must be greater than zero`, {
        suggestion: `Give ${name} of a second or more.`,
      });
    }
  }
  if (settings.page_size >= 0 && settings.page_size < MIN_PAGE) {
    throw new RksError("INPUT_INVALID", `page_size ${settings.page_size} is less than ${MIN_PAGE}`, {
      suggestion: `Give page_size from ${MIN_PAGE} to ${MAX_PAGE}.`,
    });
  }
  return settings;
}

/** The same with the fields that only `config/auto-tidy` has. @throws {RksError} INPUT_INVALID. */
export function autoTidySettings(
  fields: z.output<typeof autoTidyFields>,
  base: AutoTidySettings,
): AutoTidySettings {
  const settings = {
    ...autoSchema.parse({ ...base, ...sent(fields) }),
    ...tidySettings(fields, settingsSchema.parse(base)),
  };
  const { publish_stored_certificate_count_metrics: publishes, maintain_stored_certificate_counts: counts } =
    settings;
  if (publishes && !counts) {
    throw new RksError(
      "INPUT_INVALID",
      "publish_stored_certificate_count_metrics needs maintain_stored_certificate_counts",
      { suggestion: "Give maintain_stored_certificate_counts=true as well." },
    );
  }
  if (settings.enabled && settings.interval_duration < 1) {
    throw new RksError("INPUT_INVALID", "interval_duration must be greater than zero", {
      suggestion: "Give interval_duration=12h.",
    });
  }
  if (settings.enabled && !hasTargets(settings)) {
    throw new RksError("INPUT_INVALID", "auto-tidy is enabled but has nothing to do", {
      suggestion: `Give one of ${TIDY_TARGETS.join(", ")} as true.`,
    });
  }
  return settings;
}

/** Whether there is anything for a tidy to do. */
export function hasTargets(settings: TidySettings): boolean {
  return TIDY_TARGETS.some((target) => settings[target]);
}

/** What was asked for and does nothing here. */
export function warningsAboutTidy(settings: TidySettings): string[] {
  return TIDY_WITHOUT_EFFECT.filter((name) => settings[name]).map(
    (name) => `${name} has no effect: this engine keeps nothing of the kind`,
  );
}

/** Settings as they are read: pauses as text, other durations in seconds. */
export function tidyData(settings: TidySettings): JsonObject {
  const { revoked_safety_buffer: revoked, safety_buffer: plain } = settings;
  return {
    ...settings,
    revoked_safety_buffer: revoked === 0 ? plain : revoked,
    pause_duration: formatDuration(settings.pause_duration),
  };
}

/** How many entries a tidy reads at once. */
export function pageSize(settings: TidySettings): number {
  return settings.page_size < 0 ? MAX_PAGE : Math.min(settings.page_size, MAX_PAGE);
}

function sent(fields: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
