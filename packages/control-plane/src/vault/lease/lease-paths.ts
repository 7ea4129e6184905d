import { RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { z } from "zod";

import type { Answer, JsonObject } from "../backend.js";
import { duration, flag, text } from "../field-types.js";
import { listFolder } from "../list-folder.js";
import { type BackendPath, operation, parameter } from "../path-table.js";
import type { TokenStore } from "../token/token-store.js";
import { remainingSeconds } from "../token/token-entry.js";
import { LEASE_PREFIX, tokenOfLeaseId } from "./lease-keys.js";
import { noLease } from "./lease-errors.js";
import type { Lease, LeaseStore } from "./lease-store.js";
import { revokeLeases } from "./revoke-leases.js";

export interface LeasePathsPorts {
  readonly leases: LeaseStore;
  readonly tokens: TokenStore;
  readonly storage: Storage;
  readonly clock: { now(): number };
  /** Begin to remove what is left over; gives false while it is being done already. */
  readonly startTidy: () => boolean;
}

const leaseText = { maxCharacters: 2048 };
const named = { lease_id: text("", leaseText) };

/** The paths `sys/leases/…` and their older spellings; relative to `sys/`. */
export function leasePaths(ports: LeasePathsPorts): readonly BackendPath[] {
  const { startTidy } = ports;
  return [
    ...lookupPaths(ports),
    ...renewalPaths(ports, "leases/renew"),
    ...renewalPaths(ports, "renew"),
    ...revocationPaths(ports, "leases/"),
    ...revocationPaths(ports, ""),
    {
      pattern: "leases/tidy",
      operations: {
        update: operation({
          summary: "Remove what ended leases may have left over.",
          handle: () => ({
            warnings: [
              startTidy() ? "Tidying has begun and goes on by itself." : "Tidying is under way already.",
            ],
          }),
        }),
      },
    },
  ];
}

function lookupPaths({ leases, tokens, storage, clock }: LeasePathsPorts): readonly BackendPath[] {
  const list = async (prefix: string): Promise<Answer | undefined> => {
    const keys = await listFolder(storage, LEASE_PREFIX + prefix);
    return keys.length === 0 ? undefined : { data: { keys } };
  };
  return [
    {
      pattern: "leases/lookup",
      operations: {
        update: operation({
          summary: "Describe a lease.",
          fields: z.object(named),
          handle: async ({ fields: { lease_id: id } }) => {
            const token = tokenOfLeaseId(id);
            const data =
              token === undefined
                ? describeLease(await leases.find(id), clock.now())
                : await describeTokenLease(tokens, id, token, clock.now());
            if (data === undefined) throw noLease(id);
            return { data };
          },
        }),
        list: operation({
          access: "sudo",
          summary: "List where there are leases.",
          handle: () => list(""),
        }),
      },
    },
    {
      pattern: "leases/lookup/*prefix",
      operations: {
        list: operation({
          access: "sudo",
          summary: "List the leases below a path.",
          handle: (request) => list(`${parameter(request, "prefix")}/`),
        }),
      },
    },
  ];
}

function renewalPaths({ leases, clock }: LeasePathsPorts, path: string): readonly BackendPath[] {
  const renew = async (id: string, increment: number): Promise<Answer> => {
    if (tokenOfLeaseId(id) !== undefined) throw tokensRenewElsewhere();
    const { entry } = await leases.renew(id, increment);
    const ttlSeconds = Math.ceil((entry.expiresAtMs - clock.now()) / 1000);
    return { leased: { id, ttlSeconds, renewable: entry.renewable } };
  };
  const fields = z.object({ ...named, increment: duration(0) });
  const summary = "Make a lease last longer.";
  return [
    {
      pattern: path,
      operations: {
        update: operation({
          summary,
          fields,
          handle: ({ fields: { lease_id: id, increment } }) => renew(assertNamed(id), increment),
        }),
      },
    },
    {
      pattern: `${path}/*url_lease_id`,
      operations: {
        update: operation({
          summary,
          fields,
          handle: (request) => renew(parameter(request, "url_lease_id"), request.fields.increment),
        }),
      },
    },
  ];
}

function revocationPaths(ports: LeasePathsPorts, prefix: "" | "leases/"): readonly BackendPath[] {
  const fields = z.object({ ...named, sync: flag(false) });
  const revoke = async (id: string, isSync: boolean): Promise<undefined> => {
    const token = tokenOfLeaseId(id);
    if (token !== undefined) await ports.tokens.revoke(token);
    else {
      const revoked = ports.leases.revoke(id);
      // What failed is tried again in the background, unless the caller wants to know.
      await (isSync ? revoked : revoked.catch(ignoreUnlessStorage));
    }
    return undefined;
  };
  return [
    {
      pattern: `${prefix}revoke`,
      operations: {
        update: operation({
          summary: "End a lease.",
          fields,
          handle: ({ fields: { lease_id: id, sync } }) => revoke(assertNamed(id), sync),
        }),
      },
    },
    {
      pattern: `${prefix}revoke/*url_lease_id`,
      operations: {
        update: operation({
          summary: "End a lease.",
          fields,
          handle: (request) => revoke(parameter(request, "url_lease_id"), request.fields.sync),
        }),
      },
    },
    {
      pattern: `${prefix}revoke-prefix/*prefix`,
      operations: {
        update: operation({
          access: "sudo",
          summary: "End all leases and tokens made below a path.",
          fields: z.object({ sync: flag(false) }),
          handle: async (request) => {
            const how = request.fields.sync ? "at once" : "in the background";
            await revokeLeases(ports, parameter(request, "prefix"), how);
            return undefined;
          },
        }),
      },
    },
    {
      pattern: `${prefix}revoke-force/*prefix`,
      operations: {
        update: operation({
          access: "sudo",
          summary: "Forget all leases made below a path, whether they can be revoked or not.",
          handle: async (request) => {
            await revokeLeases(ports, parameter(request, "prefix"), "whatever happens");
            return undefined;
          },
        }),
      },
    },
  ];
}

function describeLease(lease: Lease | undefined, nowMs: number): JsonObject | undefined {
  if (lease === undefined) return undefined;
  const { issuedAtMs, expiresAtMs, renewedAtMs, renewable } = lease.entry;
  return {
    id: lease.id,
    issue_time: new Date(issuedAtMs).toISOString(),
    expire_time: new Date(expiresAtMs).toISOString(),
    last_renewal: renewedAtMs === undefined ? null : new Date(renewedAtMs).toISOString(),
    renewable,
    ttl: Math.ceil((expiresAtMs - nowMs) / 1000),
  };
}

async function describeTokenLease(
  tokens: TokenStore,
  id: string,
  hash: string,
  nowMs: number,
): Promise<JsonObject | undefined> {
  const token = await tokens.findHash(hash);
  if (token?.entry.expiresAtMs === undefined) return undefined;
  const { createdAtMs, expiresAtMs, renewable } = token.entry;
  return {
    id,
    issue_time: new Date(createdAtMs).toISOString(),
    expire_time: new Date(expiresAtMs).toISOString(),
    last_renewal: null,
    renewable,
    ttl: remainingSeconds(token.entry, nowMs),
  };
}

function ignoreUnlessStorage(reason: unknown): void {
  const { code } = RksError.from(reason);
  if (code === "VAULT_SEALED" || code.startsWith("STORAGE_") || code === "BUSY") throw reason;
}

function assertNamed(id: string): string {
  if (id !== "") return id;
  throw new RksError("INPUT_INVALID", `field "lease_id" is empty`, { suggestion: "Name a lease." });
}

function tokensRenewElsewhere(): RksError {
  return new RksError("INPUT_INVALID", "tokens cannot be renewed through this path", {
    suggestion: "Renew the token with auth/token/renew.",
  });
}
