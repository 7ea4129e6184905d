import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { Answer, Caller, PathRequest } from "../backend.js";
import { count, duration, flag, list, requiredText, text, texts } from "../field-types.js";
import { SYSTEM_DEFAULT_TTL_SECONDS, SYSTEM_MAX_TTL_SECONDS } from "../mount/mount-settings.js";
import { type BackendPath, callerOf, operation, PathTable } from "../path-table.js";
import { normalName } from "../policy/policy-store.js";
import type { VaultAuth } from "../request.js";
import { describeToken, isRoot, remainingSeconds, ROOT_POLICY, UNLIMITED_USES } from "./token-entry.js";
import type { TokenEntry } from "./token-entry.js";
import type { LiveToken, NewToken, TokenStore } from "./token-store.js";

const MAX_DISPLAY_NAME_CHARACTERS = 256;
const MAX_META_ENTRIES = 64;

const byToken = z.object({ token: requiredText({ maxCharacters: 4096 }) });
const byAccessor = z.object({ accessor: requiredText({ maxCharacters: 256 }) });
const creation = z.object({
  id: text(""),
  policies: list(),
  meta: texts(),
  no_parent: flag(false),
  no_default_policy: flag(false),
  renewable: flag(true),
  ttl: duration(),
  lease: duration(),
  type: text("service"),
  explicit_max_ttl: duration(0),
  display_name: text(""),
  num_uses: count(UNLIMITED_USES),
  period: duration(0),
});
type Creation = z.output<typeof creation>;

/** What the paths need of the vault's wall clock. */
interface WallClock {
  now(): number;
}

/** The login method `token`: the paths under `auth/token/`. */
export function tokenPaths(tokens: TokenStore, clock: WallClock): PathTable {
  const lookUp = (token: LiveToken, id: string): Answer => ({
    data: describeToken(token.entry, id, clock.now()),
  });
  const lookupSelf = {
    summary: "Describe the token of the request.",
    handle: (request: PathRequest<unknown>): Answer =>
      lookUp(callerOf(request).token, callerOf(request).secret.reveal()),
  };
  const revoke = async (token: LiveToken): Promise<undefined> =>
    tokens.revoke(token.hash).then(() => undefined);
  const renewed = (token: LiveToken, secret: string, increment: number): Promise<Answer> =>
    renew(tokens, token, { secret, increment, nowMs: clock.now() });
  const increment = duration(0);
  const paths: readonly BackendPath[] = [
    {
      pattern: "create",
      operations: {
        update: operation({
          summary: "Make a token.",
          fields: creation,
          handle: (request) => create(tokens, callerOf(request), request.fields, clock.now()),
        }),
      },
    },
    {
      pattern: "lookup",
      operations: {
        update: operation({
          summary: "Describe a token.",
          fields: byToken,
          handle: async ({ fields }) => lookUp(found(await tokens.find(fields.token)), fields.token),
        }),
      },
    },
    { pattern: "lookup-self", operations: { read: operation(lookupSelf), update: operation(lookupSelf) } },
    {
      pattern: "lookup-accessor",
      operations: {
        update: operation({
          summary: "Describe the token of an accessor.",
          fields: byAccessor,
          handle: async ({ fields }) => lookUp(found(await tokens.findByAccessor(fields.accessor)), ""),
        }),
      },
    },
    {
      pattern: "renew",
      operations: {
        update: operation({
          summary: "Make a token live longer.",
          fields: byToken.extend({ increment }),
          handle: async ({ fields }) =>
            renewed(found(await tokens.find(fields.token)), fields.token, fields.increment),
        }),
      },
    },
    {
      pattern: "renew-self",
      operations: {
        update: operation({
          summary: "Make the token of the request live longer.",
          fields: z.object({ increment }),
          handle: (request) => {
            const { token, secret } = callerOf(request);
            return renewed(token, secret.reveal(), request.fields.increment);
          },
        }),
      },
    },
    {
      pattern: "revoke",
      operations: {
        update: operation({
          summary: "Revoke a token and all that descend from it.",
          fields: byToken,
          handle: async ({ fields }) => revoke(found(await tokens.find(fields.token))),
        }),
      },
    },
    {
      pattern: "revoke-self",
      operations: {
        update: operation({
          summary: "Revoke the token of the request and all that descend from it.",
          handle: (request) => revoke(callerOf(request).token),
        }),
      },
    },
    {
      pattern: "revoke-accessor",
      operations: {
        update: operation({
          summary: "Revoke the token of an accessor and all that descend from it.",
          fields: byAccessor,
          handle: async ({ fields }) => revoke(found(await tokens.findByAccessor(fields.accessor))),
        }),
      },
    },
  ];
  return new PathTable(paths);
}

async function create(tokens: TokenStore, caller: Caller, fields: Creation, nowMs: number): Promise<Answer> {
  assertSupported(fields);
  if (caller.token.entry.usesLeft !== UNLIMITED_USES) {
    throw refused("a token with limited uses cannot make tokens");
  }
  const policies = chosenPolicies(caller, fields.policies, fields.no_default_policy);
  if (fields.no_parent && !caller.hasSudo) throw refused("making a token without a parent needs sudo");
  const warnings: string[] = [];
  const made = await tokens.create(
    {
      policies,
      displayName: `token${displaySuffix(fields.display_name)}`,
      meta: checkedMeta(fields.meta ?? {}),
      path: "auth/token/create",
      renewable: fields.renewable,
      usesLeft: fields.num_uses,
      ...lifetime(caller.token.entry, policies, { fields, nowMs }, warnings),
    },
    fields.no_parent ? undefined : caller.token,
  );
  return { auth: toAuth(made.token, made.entry, nowMs), warnings };
}

/** Fields that would change what the token may do, and that this vault does not have. */
function assertSupported({ id, period, type }: Creation): void {
  const isKnownType = type === "service" || type === "default" || type === "";
  const problem = id !== "" ? "id" : period !== 0 ? "period" : isKnownType ? undefined : "type";
  if (problem === undefined) return;
  throw new RksError("INPUT_INVALID", `field "${problem}" of a token cannot be chosen`, {
    suggestion: `Leave out "${problem}".`,
  });
}

/** A caller without sudo hands on what it has itself and nothing else; `root` comes from root only. */
function chosenPolicies(
  caller: Caller,
  wanted: readonly string[] | undefined,
  withoutDefault: boolean | undefined,
): string[] {
  const own = caller.token.entry.policies;
  const names = new Set((wanted === undefined || wanted.length === 0 ? own : wanted).map(normalName));
  if (names.has(ROOT_POLICY)) {
    if (!isRoot(caller.token.entry)) throw refused("only a root token can make a root token");
    if (names.size > 1) throw refused("a root token has no other policies");
    return [ROOT_POLICY];
  }
  if (withoutDefault !== true) names.add("default");
  if (!caller.hasSudo) {
    const foreign = [...names].find((name) => name !== "default" && !own.includes(name));
    if (foreign !== undefined) throw refused(`policy "${foreign}" is not one of the caller's own`);
  }
  return [...names].toSorted();
}

type Lifetime = Pick<NewToken, "ttlSeconds" | "explicitMaxTtlSeconds"> & { readonly expiresAtMs?: number };

function lifetime(
  parent: TokenEntry,
  policies: readonly string[],
  { fields, nowMs }: { readonly fields: Creation; readonly nowMs: number },
  warnings: string[],
): Lifetime {
  const explicitMaxTtlSeconds = fields.explicit_max_ttl;
  const wanted = fields.ttl ?? fields.lease ?? 0;
  const isForever = policies.includes(ROOT_POLICY) && wanted === 0 && explicitMaxTtlSeconds === 0;
  if (isForever && parent.expiresAtMs === undefined) return { ttlSeconds: 0, explicitMaxTtlSeconds };
  if (isForever) throw refused("a root token that expires cannot make one that does not");
  const max = longest(explicitMaxTtlSeconds);
  const ttlSeconds = Math.min(wanted === 0 ? SYSTEM_DEFAULT_TTL_SECONDS : wanted, max);
  if (wanted > max)
    warnings.push(`ttl of ${wanted} s is longer than the longest of ${max} s and was cut to it`);
  return { ttlSeconds, explicitMaxTtlSeconds, expiresAtMs: nowMs + ttlSeconds * 1000 };
}

async function renew(
  tokens: TokenStore,
  token: LiveToken,
  {
    secret,
    increment,
    nowMs,
  }: { readonly secret: string; readonly increment: number; readonly nowMs: number },
): Promise<Answer> {
  const { entry } = token;
  if (!entry.renewable || entry.expiresAtMs === undefined) {
    throw new RksError("INPUT_INVALID", "the token is not renewable", { suggestion: "Make a new token." });
  }
  const renewed = await tokens.setExpiry(token.hash, (current) => {
    const wanted = nowMs + (increment === 0 ? current.ttlSeconds : increment) * 1000;
    return Math.min(wanted, current.createdAtMs + longest(current.explicitMaxTtlSeconds) * 1000);
  });
  return { auth: toAuth(secret, found(renewed).entry, nowMs) };
}

/** Seconds from its creation that a token can live at most. */
function longest(explicitMaxTtlSeconds: number): number {
  if (explicitMaxTtlSeconds === 0) return SYSTEM_MAX_TTL_SECONDS;
  return Math.min(explicitMaxTtlSeconds, SYSTEM_MAX_TTL_SECONDS);
}

function toAuth(secret: string, entry: TokenEntry, nowMs: number): VaultAuth {
  return {
    client_token: secret,
    accessor: entry.accessor,
    policies: entry.policies,
    token_policies: entry.policies,
    metadata: Object.keys(entry.meta).length === 0 ? null : entry.meta,
    lease_duration: remainingSeconds(entry, nowMs),
    renewable: entry.renewable && entry.expiresAtMs !== undefined,
    entity_id: "",
    token_type: "service",
    orphan: entry.parent === undefined,
    mfa_requirement: null,
    num_uses: entry.usesLeft,
  };
}

function displaySuffix(name: string): string {
  if (name === "") return "";
  return `-${name.slice(0, MAX_DISPLAY_NAME_CHARACTERS).replace(/[^A-Za-z0-9]+/g, "-")}`;
}

function checkedMeta(meta: Readonly<Record<string, string>>): Record<string, string> {
  const entries = Object.entries(meta);
  if (
    entries.length <= MAX_META_ENTRIES &&
    entries.every(([key, value]) => key.length + value.length <= 1024)
  ) {
    return { ...meta };
  }
  throw new RksError(
    "INPUT_INVALID",
    `field "meta" is larger than ${MAX_META_ENTRIES} texts of 1024 characters`,
    {
      suggestion: "Keep less with the token.",
    },
  );
}

function found(token: LiveToken | undefined): LiveToken {
  if (token !== undefined) return token;
  throw new RksError("NOT_FOUND", "there is no such token", {
    suggestion: "It may have expired or been revoked; make a new one.",
  });
}

function refused(message: string): RksError {
  return new RksError("PERMISSION_DENIED", message, { suggestion: "Ask for a token that may do this." });
}
