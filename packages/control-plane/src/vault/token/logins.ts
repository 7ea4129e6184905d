import { RksError } from "@rk8s/protocol";

import type { Connection, LoginGrant } from "../backend.js";
import { isInNetwork } from "../cidr.js";
import type { EntityStore } from "../identity/entity-store.js";
import { effectiveTtls } from "../mount/mount-settings.js";
import type { MountEntry } from "../mount/mount-table.js";
import { DEFAULT, isAssignable } from "../policy/builtin-policies.js";
import { normalName } from "../policy/policy-store.js";
import type { VaultAuth } from "../request.js";
import { toAuth } from "./token-answer.js";
import { ROOT_POLICY, UNLIMITED_USES } from "./token-entry.js";
import { chooseLifetime } from "./token-lifetime.js";
import type { MadeToken, NewToken, TokenStore } from "./token-store.js";

export interface LoginPorts {
  readonly tokens: TokenStore;
  readonly entities: EntityStore;
  readonly clock: { now(): number };
}

/** Who logs in, and where. */
export interface Login {
  readonly grant: LoginGrant;
  readonly mount: MountEntry;
  /** Of the request: `auth/approle/login`. */
  readonly path: string;
  readonly connection: Connection;
}

/** A login's token. */
export interface LoggedIn {
  readonly auth: VaultAuth;
  readonly warnings: readonly string[];
  readonly token: MadeToken;
}

/**
 * Make the token that a login method grants: an orphan, tied to the entity of whoever logs in, bounded by the mount. What
 * the login uses up is used up with the token or not at all.
 * @throws {RksError} PERMISSION_DENIED from another network, for an entity that is disabled and for the root policy; BUSY
 *   when others use the same up again and again; whatever the method's `commit` throws.
 */
export async function logIn(ports: LoginPorts, login: Login): Promise<LoggedIn> {
  const { grant, mount, path, connection } = login;
  const { tokens, clock } = ports;
  if (!isWithin(grant.boundCidrs ?? [], connection)) {
    throw denied("logging in is not allowed from this address");
  }
  const policies = policiesOf(grant);
  const type = typeOf(grant, mount);
  const numUses = grant.numUses ?? UNLIMITED_USES;
  const entityId = await entityOf(ports, login);
  const nowMs = clock.now();
  const { warnings, ...lifetime } = chooseLifetime(
    {
      ttlSeconds: grant.ttlSeconds ?? 0,
      maxTtlSeconds: grant.maxTtlSeconds ?? 0,
      explicitMaxTtlSeconds: type === "batch" ? 0 : (grant.explicitMaxTtlSeconds ?? 0),
      periodSeconds: type === "batch" ? 0 : (grant.periodSeconds ?? 0),
    },
    effectiveTtls(mount),
    nowMs,
  );
  const name = mount.path.replace(/^auth\//, "").replaceAll("/", "-");
  const token: NewToken = {
    type,
    policies,
    displayName: name + grant.displayName,
    meta: { ...grant.metadata },
    path,
    renewable: type === "service",
    usesLeft: type === "batch" ? UNLIMITED_USES : numUses,
    boundCidrs: grant.boundCidrs ?? [],
    entityId,
    login: {
      mountAccessor: mount.accessor,
      maxTtlSeconds: grant.maxTtlSeconds ?? 0,
      ...(grant.renewal === undefined ? {} : { renewal: grant.renewal }),
    },
    ...lifetime,
  };
  const made = await tokens.create(token, undefined, { commit: grant.commit });
  return { auth: toAuth(made.token, made.entry, nowMs), warnings, token: made };
}

/** Whether a request may come from where it does. With bounds and no address it may not. */
export function isWithin(cidrs: readonly string[], { remoteAddress }: Connection): boolean {
  if (cidrs.length === 0) return true;
  return remoteAddress !== undefined && cidrs.some((cidr) => isInNetwork(remoteAddress, cidr));
}

function policiesOf(grant: LoginGrant): readonly string[] {
  const names = new Set(grant.policies.map(normalName));
  if (grant.noDefaultPolicy !== true) names.add(DEFAULT);
  const refused = [...names].find((name) => name === ROOT_POLICY || !isAssignable(name));
  if (refused !== undefined) throw denied(`a login cannot give the policy "${refused}"`);
  return [...names].toSorted();
}

function typeOf({ tokenType }: LoginGrant, mount: MountEntry): NewToken["type"] {
  if (mount.tokenType === "service" || mount.tokenType === "batch") return mount.tokenType;
  return tokenType ?? (mount.tokenType === "default-batch" ? "batch" : "service");
}

async function entityOf({ entities }: LoginPorts, { grant, mount }: Login): Promise<string> {
  if (grant.aliasName === undefined || grant.aliasName === "") return "";
  const entity = await entities.ensure({
    mountAccessor: mount.accessor,
    mountPath: mount.path,
    mountType: mount.type,
    name: grant.aliasName,
    metadata: grant.metadata ?? {},
  });
  if (entity.disabled) throw denied("the entity of this login is disabled");
  return entity.id;
}

function denied(message: string): RksError {
  return new RksError("PERMISSION_DENIED", message, { suggestion: "Ask an operator for access." });
}
