import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { JsonObject } from "../backend.js";
import {
  duration,
  type Field,
  type FieldMeta,
  flag,
  list,
  oneOf,
  parseFields,
  text,
  texts,
  unknownFieldWarning,
} from "../field-types.js";
import { isAuthPath } from "./mount-path.js";
import type { MountOptions, MountTuning } from "./mount-settings.js";
import { LISTING_VISIBILITIES, type MountEntry, TOKEN_TYPES } from "./mount-table.js";

const NOT_SENT = "\u0000";

const tuning = {
  description: text(),
  default_lease_ttl: lifetime(),
  max_lease_ttl: lifetime(),
  force_no_cache: flag(),
  listing_visibility: oneOf(NOT_SENT, [NOT_SENT, ...LISTING_VISIBILITIES]),
  audit_non_hmac_request_keys: list(),
  audit_non_hmac_response_keys: list(),
  passthrough_request_headers: list(),
  allowed_response_headers: list(),
  token_type: oneOf(NOT_SENT, [NOT_SENT, "", ...TOKEN_TYPES]),
  plugin_version: text(""),
};

/** Body of `sys/mounts/:path/tune`. */
export const tuneFields = z.object({ ...tuning, options: options() });

/** Body of `sys/mounts/:path`. */
export const mountFields = z.object({
  type: text(""),
  description: text(),
  config: z
    .unknown()
    .optional()
    .meta({ type: "object" } satisfies FieldMeta),
  options: options(),
  local: flag(false),
  seal_wrap: flag(false),
  external_entropy_access: flag(false),
  plugin_name: text(""),
  plugin_version: text(""),
});

/** What stands below `config` when something is mounted; older clients tell it the plugin's name as well. */
const configFields = z.object({ ...tuning, options: options(), plugin_name: text("") });

/** Names of mount types that stand for another one with an option. */
const ALIASES: Readonly<Record<string, { readonly type: string; readonly version: string }>> = {
  "kv-v1": { type: "kv", version: "1" },
  "kv-v2": { type: "kv", version: "2" },
  generic: { type: "kv", version: "1" },
};

/** A mount as a body asks for it, and what of the body has no effect. */
export interface AskedMount {
  readonly type: string;
  readonly options: MountOptions;
  readonly warnings: readonly string[];
}

/** @throws {RksError} INPUT_INVALID */
export function askedMount(path: string, fields: z.output<typeof mountFields>): AskedMount {
  const named = fields.type === "plugin" || fields.type === "" ? fields.plugin_name : fields.type;
  if (named === "") {
    throw new RksError("INPUT_INVALID", `the mount at "${path}" has no type`, {
      suggestion: `Give a type, for example "pki".`,
    });
  }
  assertNoVersion(fields.plugin_version);
  const alias = Object.hasOwn(ALIASES, named) ? ALIASES[named] : undefined;
  const config = withoutNull(fields.config);
  const parsed = parseFields(configFields, config, `"config"`);
  const ignored = unknownFieldWarning(config, configFields);
  const version = alias === undefined ? {} : { version: alias.version };
  return {
    type: alias?.type ?? named,
    options: {
      ...askedTuning(path, parsed),
      ...(fields.description === undefined ? {} : { description: fields.description }),
      options: { ...parsed.options, ...fields.options, ...version },
      local: fields.local,
      sealWrap: fields.seal_wrap,
    },
    warnings: [
      ...(ignored === undefined ? [] : [ignored]),
      ...(fields.seal_wrap ? ["seal_wrap has no effect: everything is encrypted once, by the barrier"] : []),
      ...(fields.external_entropy_access ? ["external_entropy_access has no effect"] : []),
    ],
  };
}

/** @throws {RksError} INPUT_INVALID for what this kind of mount does not have. */
export function askedTuning(path: string, fields: Omit<z.output<typeof tuneFields>, "options">): MountTuning {
  assertNoVersion(fields.plugin_version);
  const { token_type: tokenType, listing_visibility: visibility } = fields;
  const asksTokenType = tokenType !== NOT_SENT && tokenType !== "";
  if (asksTokenType && !isAuthPath(path)) {
    throw new RksError("INPUT_INVALID", `"token_type" is for login methods, not for "${path}"`, {
      suggestion: "Leave it out.",
    });
  }
  return {
    description: fields.description,
    defaultTtlSeconds: fields.default_lease_ttl,
    maxTtlSeconds: fields.max_lease_ttl,
    forceNoCache: fields.force_no_cache,
    listingVisibility: visibility === NOT_SENT ? undefined : visibility,
    auditNonHmacRequestKeys: fields.audit_non_hmac_request_keys,
    auditNonHmacResponseKeys: fields.audit_non_hmac_response_keys,
    passthroughRequestHeaders: fields.passthrough_request_headers,
    allowedResponseHeaders: fields.allowed_response_headers,
    tokenType: asksTokenType ? tokenType : undefined,
  };
}

/** @throws {RksError} INPUT_INVALID when a body asks for other options than the mount was made with. */
export function assertSameOptions(entry: MountEntry, asked: Readonly<Record<string, string>> = {}): void {
  const differs = Object.entries(asked).find(([name, value]) => entry.options[name] !== value);
  if (differs === undefined) return;
  throw new RksError("INPUT_INVALID", `option "${differs[0]}" of "${entry.path}" cannot be changed`, {
    suggestion: "Mount the engine anew with the options wanted.",
  });
}

function assertNoVersion(version: string): void {
  if (version === "") return;
  throw new RksError("INPUT_INVALID", `engines have no version "${version.slice(0, 40)}" to choose`, {
    suggestion: "Leave plugin_version out: every engine is built in.",
  });
}

/** Seconds; `system` and -1 stand for the system's, which is 0 here. */
function lifetime(): Field<number | undefined> {
  const isSystem = (value: unknown): boolean => value === "system" || value === -1 || value === "-1";
  return z
    .preprocess((value) => (isSystem(value) ? 0 : value), duration())
    .meta({ type: "duration" } satisfies FieldMeta);
}

/** Texts by name; numbers and truth values are taken as their text. */
function options(): Field<Readonly<Record<string, string>> | undefined> {
  return z
    .preprocess((value) => {
      if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
      const entries = Object.entries(value);
      return Object.fromEntries(
        entries.map(([name, own]) => [name, typeof own === "object" ? own : String(own)]),
      );
    }, texts())
    .meta({ type: "object" } satisfies FieldMeta);
}

function withoutNull(config: unknown): JsonObject {
  if (config === undefined || config === null) return {};
  if (typeof config !== "object" || Array.isArray(config)) {
    throw new RksError("INPUT_INVALID", `"config" is not an object`, {
      suggestion: `Write it like {"default_lease_ttl": "1h"}.`,
    });
  }
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== null));
}
