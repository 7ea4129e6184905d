import { RksError } from "@rk8s/protocol";

import {
  booleanField,
  countField,
  durationField,
  listField,
  requiredText,
  textField,
  textsField,
} from "../fields.js";
import { SYSTEM_DEFAULT_TTL_SECONDS, SYSTEM_MAX_TTL_SECONDS } from "../mount/mounts.js";
import { normalName } from "../policy/policy-store.js";
import type { Answer, VaultAuth } from "../request.js";
import { callerOf } from "../route.js";
import type { Caller, Route, RouteRequest } from "../route.js";
import { describeToken, isRoot, remainingSeconds, ROOT_POLICY, UNLIMITED_USES } from "./token-entry.js";
import type { TokenEntry } from "./token-entry.js";
import type { LiveToken, NewToken, TokenStore } from "./token-store.js";

const MAX_DISPLAY_NAME_CHARACTERS = 256;
const MAX_META_ENTRIES = 64;

/** The paths under `auth/token/`. */
export function tokenRoutes(tokens: TokenStore): readonly Route[] {
  const self = (request: RouteRequest): LiveToken => callerOf(request).token;
  const byToken = async (request: RouteRequest): Promise<LiveToken> =>
    found(await tokens.find(requiredText(request.data, "token")));
  const byAccessor = async (request: RouteRequest): Promise<LiveToken> =>
    found(await tokens.findByAccessor(requiredText(request.data, "accessor")));
  const lookUp = (token: LiveToken, id: string, request: RouteRequest): Answer => ({
    data: describeToken(token.entry, id, request.nowMs),
  });
  const revoke = async (token: LiveToken): Promise<undefined> =>
    tokens.revoke(token.hash).then(() => undefined);

  const update = (path: string, handle: Route["handle"]): Route => ({
    path: `auth/token/${path}`,
    operation: "update",
    access: "token",
    handle,
  });
  const lookupSelf = (request: RouteRequest): Answer =>
    lookUp(self(request), callerOf(request).secret, request);

  return [
    update("create", async (request) => create(tokens, request)),
    update("lookup", async (request) => {
      const id = requiredText(request.data, "token");
      return lookUp(await byToken(request), id, request);
    }),
    update("lookup-self", lookupSelf),
    { path: "auth/token/lookup-self", operation: "read", access: "token", handle: lookupSelf },
    update("lookup-accessor", async (request) => lookUp(await byAccessor(request), "", request)),
    update("renew", async (request) =>
      renew(tokens, await byToken(request), requiredText(request.data, "token"), request),
    ),
    update("renew-self", async (request) => renew(tokens, self(request), callerOf(request).secret, request)),
    update("revoke", async (request) => revoke(await byToken(request))),
    update("revoke-self", async (request) => revoke(self(request))),
    update("revoke-accessor", async (request) => revoke(await byAccessor(request))),
  ];
}

async function create(tokens: TokenStore, request: RouteRequest): Promise<Answer> {
  const caller = callerOf(request);
  const { data } = request;
  assertSupported(data);
  if (caller.token.entry.usesLeft !== UNLIMITED_USES) {
    throw refused("a token with limited uses cannot make tokens");
  }
  const policies = chosenPolicies(
    caller,
    listField(data, "policies"),
    booleanField(data, "no_default_policy"),
  );
  const isOrphan = booleanField(data, "no_parent") ?? false;
  if (isOrphan && !caller.hasSudo) throw refused("making a token without a parent needs sudo");
  const warnings: string[] = [];
  const made = await tokens.create(
    {
      policies,
      displayName: `token${displaySuffix(textField(data, "display_name"))}`,
      meta: checkedMeta(textsField(data, "meta") ?? {}),
      path: "auth/token/create",
      renewable: booleanField(data, "renewable") ?? true,
      usesLeft: countField(data, "num_uses") ?? UNLIMITED_USES,
      ...lifetime(caller.token.entry, policies, request, warnings),
    },
    isOrphan ? undefined : caller.token,
  );
  return { auth: toAuth(made.token, made.entry, request.nowMs), warnings };
}

/** Fields that would change what the token may do, and that this vault does not have. */
function assertSupported(data: RouteRequest["data"]): void {
  const type = textField(data, "type") ?? "service";
  const unsupported = ["id", "period"].find((name) => (data[name] ?? "") !== "" && data[name] !== 0);
  const problem =
    unsupported === undefined ? (type === "service" || type === "default" ? undefined : "type") : unsupported;
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
  { data, nowMs }: RouteRequest,
  warnings: string[],
): Lifetime {
  const explicitMaxTtlSeconds = durationField(data, "explicit_max_ttl") ?? 0;
  const wanted = durationField(data, "ttl") ?? durationField(data, "lease") ?? 0;
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
  secret: string,
  request: RouteRequest,
): Promise<Answer> {
  const { entry } = token;
  if (!entry.renewable || entry.expiresAtMs === undefined) {
    throw new RksError("INPUT_INVALID", "the token is not renewable", { suggestion: "Make a new token." });
  }
  const increment = durationField(request.data, "increment") ?? 0;
  const renewed = await tokens.setExpiry(token.hash, (current) => {
    const wanted = request.nowMs + (increment === 0 ? current.ttlSeconds : increment) * 1000;
    return Math.min(wanted, current.createdAtMs + longest(current.explicitMaxTtlSeconds) * 1000);
  });
  return { auth: toAuth(secret, found(renewed).entry, request.nowMs) };
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

function displaySuffix(name: string | undefined): string {
  if (name === undefined || name === "") return "";
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
