import type { AuditedRequest } from "../audit/request-audit.js";
import type { MountEntry } from "../mount/mount-table.js";
import { decodeTokenEntry } from "../token/token-entry.js";
import type { LiveToken } from "../token/token-store.js";

/** A mount as the table remembers it. */
export function aMount(mount: Partial<MountEntry> & Pick<MountEntry, "path" | "type">): MountEntry {
  return {
    uuid: "4f21",
    accessor: `${mount.type}_4f21a9c0`,
    description: "",
    defaultTtlSeconds: 0,
    maxTtlSeconds: 0,
    options: {},
    local: false,
    sealWrap: false,
    forceNoCache: false,
    listingVisibility: "",
    tokenType: "default-service",
    removing: false,
    ...mount,
  };
}

/** A token that was accepted, with accessor `accessor-of-it`. */
export function aLiveToken(): LiveToken {
  const entry = {
    version: 1,
    accessor: "accessor-of-it",
    policies: ["default", "issuer"],
    depth: 0,
    displayName: "token-ci",
    meta: { team: "a" },
    path: "auth/token/create",
    createdAtMs: 1_800_000_000_000,
    ttlSeconds: 3600,
    explicitMaxTtlSeconds: 0,
    renewable: true,
    usesLeft: 0,
  };
  return { hash: "00", entry: decodeTokenEntry(Buffer.from(JSON.stringify(entry))) };
}

/** What the pipeline hands to the audit: by default somebody issues a certificate. */
export function anAuditedRequest(request: Partial<AuditedRequest> = {}): AuditedRequest {
  return {
    id: "5f0e6a50-0000-4000-8000-000000000001",
    operation: "update",
    path: "pki/issue/web",
    data: { common_name: "www.example.com", ttl: "1h" },
    mount: aMount({ path: "pki/", type: "pki" }),
    token: aLiveToken(),
    clientToken: "hvs.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    connection: { remoteAddress: "192.0.2.7" },
    wrapTtlSeconds: 0,
    ...request,
  };
}
