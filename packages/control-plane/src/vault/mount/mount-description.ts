import { VERSION } from "../../version.js";
import type { JsonObject } from "../backend.js";
import { isAuthPath } from "./mount-path.js";
import { effectiveTtls } from "./mount-settings.js";
import type { MountEntry } from "./mount-table.js";

/** A mount in the shape of `sys/mounts`; lifetimes of 0 stand for the system's. */
export function describeMount(entry: MountEntry): JsonObject {
  return {
    type: entry.type,
    description: entry.description,
    accessor: entry.accessor,
    uuid: entry.uuid,
    local: entry.local,
    seal_wrap: entry.sealWrap,
    external_entropy_access: false,
    options: optionsOf(entry),
    plugin_version: "",
    running_plugin_version: `v${VERSION}+builtin.rks`,
    running_sha256: "",
    config: {
      default_lease_ttl: entry.defaultTtlSeconds,
      max_lease_ttl: entry.maxTtlSeconds,
      force_no_cache: entry.forceNoCache,
      ...describeChoices(entry),
    },
  };
}

/** A mount in the shape of `sys/mounts/:path/tune`, with the lifetimes that are in force. */
export function describeTuning(entry: MountEntry): JsonObject {
  const ttls = effectiveTtls(entry);
  const options = optionsOf(entry);
  return {
    description: entry.description,
    default_lease_ttl: ttls.default,
    max_lease_ttl: ttls.max,
    force_no_cache: entry.forceNoCache,
    ...describeChoices(entry),
    ...(options === null ? {} : { options }),
  };
}

/** What everybody may know of a mount that is listed for everybody. */
export function describeInPublic({ type, description, ...entry }: MountEntry): JsonObject {
  return { type, description, options: optionsOf(entry) };
}

/** Present only where somebody chose it. */
function describeChoices(entry: MountEntry): JsonObject {
  const chosen: Record<string, unknown> = {
    audit_non_hmac_request_keys: entry.auditNonHmacRequestKeys,
    audit_non_hmac_response_keys: entry.auditNonHmacResponseKeys,
    passthrough_request_headers: entry.passthroughRequestHeaders,
    allowed_response_headers: entry.allowedResponseHeaders,
    listing_visibility: entry.listingVisibility === "" ? undefined : entry.listingVisibility,
    token_type: isAuthPath(entry.path) ? entry.tokenType : undefined,
  };
  return Object.fromEntries(Object.entries(chosen).filter(([, value]) => value !== undefined));
}

function optionsOf({ options }: Pick<MountEntry, "options">): JsonObject | null {
  return Object.keys(options).length === 0 ? null : options;
}
