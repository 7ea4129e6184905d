import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { Answer, Caller } from "../backend.js";
import { count, duration, flag, list, text, texts } from "../field-types.js";
import { toAuth } from "./token-answer.js";
import { isRoot, ROOT_POLICY, type TokenEntry, UNLIMITED_USES } from "./token-entry.js";
import { chooseLifetime, least, type MountTtls } from "./token-lifetime.js";
import { choosePolicies, matchesGlob } from "./token-policies.js";
import type { TokenRole } from "./token-role.js";
import type { NewToken, TokenStore } from "./token-store.js";

const MAX_DISPLAY_NAME_CHARACTERS = 256;
const MAX_META_ENTRIES = 64;
const MAX_META_CHARACTERS = 1024;
/** Long enough for any scheme of names, and nothing that means something elsewhere. */
const CHOSEN_ID = /^[\w-]{1,128}$/;

/** Fields of `auth/token/create`. */
export const creationFields = z.object({
  id: text(""),
  policies: list(),
  meta: texts(),
  no_parent: flag(false),
  no_default_policy: flag(false),
  renewable: flag(true),
  ttl: duration(),
  lease: duration(),
  type: text(""),
  explicit_max_ttl: duration(0),
  display_name: text(""),
  num_uses: count(UNLIMITED_USES),
  period: duration(0),
  entity_alias: text(""),
});
type CreationFields = z.output<typeof creationFields>;

export interface CreationPorts {
  readonly tokens: TokenStore;
  readonly clock: { now(): number };
  /** Of the mount `auth/token/`. */
  readonly ttls: () => MountTtls;
  /** The id of the entity that has this alias on the mount `auth/token/`; one is made where there is none. */
  readonly entityOf: (aliasName: string) => Promise<string>;
}

export interface Creation {
  readonly caller: Caller;
  readonly fields: CreationFields;
  /** With its name. */
  readonly role?: { readonly name: string; readonly role: TokenRole };
  /** Whether the path makes orphans, for which nothing else is needed then. */
  readonly makesOrphans?: boolean;
}

/** Make a token as its maker asks. @throws {RksError} PERMISSION_DENIED, INPUT_INVALID */
export async function createToken(ports: CreationPorts, creation: Creation): Promise<Answer> {
  const { caller, fields } = creation;
  const nowMs = ports.clock.now();
  const role = creation.role?.role;
  assertCallerMay(caller, fields);
  const type = chosenType(fields, role);
  const policies = choosePolicies(caller, {
    policies: fields.policies,
    noDefaultPolicy: fields.no_default_policy,
    role,
  });
  const numUses = least([fields.num_uses, role?.numUses ?? 0]);
  if (type === "batch") assertBatch(fields, policies, numUses);
  const isOrphan = isOrphanWanted(creation);
  const { warnings, ...lifetime } = lifetimeOf(creation, policies, ports.ttls(), nowMs);
  const token: NewToken = {
    type,
    policies,
    displayName: `token${displaySuffix(fields.display_name)}`,
    meta: checkedMeta(fields.meta ?? {}),
    path: pathOf(creation),
    renewable: type === "service" && fields.renewable && role?.renewable !== false,
    usesLeft: numUses,
    boundCidrs: boundCidrs(caller.token.entry, role),
    entityId: await entityOf(ports, creation, isOrphan),
    ...lifetime,
    ...(creation.role === undefined ? {} : { role: creation.role.name }),
  };
  const id = fields.id === "" ? {} : { id: fields.id };
  const made = await ports.tokens.create(token, isOrphan ? undefined : caller.token, id);
  return { auth: toAuth(made.token, made.entry, nowMs), warnings };
}

function assertCallerMay({ token, hasSudo }: Caller, fields: CreationFields): void {
  if (token.entry.usesLeft !== UNLIMITED_USES) {
    throw invalid("a token with limited uses cannot make tokens", "Use a token without `num_uses`.");
  }
  if (token.entry.type === "batch") {
    throw invalid("a batch token cannot make tokens", "Use a service token.");
  }
  if (fields.id !== "" && !hasSudo) throw denied("choosing a token's id needs sudo");
  if (fields.period !== 0 && !hasSudo) throw denied("making a periodic token needs sudo");
  if (fields.id !== "" && !CHOSEN_ID.test(fields.id)) {
    throw invalid("the chosen token id is not possible", "Use at most 128 letters, digits, _ and -.");
  }
}

function chosenType({ type }: CreationFields, role: TokenRole | undefined): NewToken["type"] {
  if (type !== "" && type !== "default" && type !== "service" && type !== "batch") {
    throw invalid(`token type ${JSON.stringify(type.slice(0, 40))} is not known`, "Use service or batch.");
  }
  if (role?.type === "service" || role?.type === "batch") return role.type;
  if (type === "service" || type === "batch") return type;
  return role?.type === "default-batch" ? "batch" : "service";
}

function assertBatch(fields: CreationFields, policies: readonly string[], numUses: number): void {
  const problem = [
    ["num_uses", numUses !== 0],
    ["period", fields.period !== 0],
    ["explicit_max_ttl", fields.explicit_max_ttl !== 0],
    ["id", fields.id !== ""],
  ].find(([, isSet]) => isSet)?.[0];
  if (problem !== undefined) {
    throw invalid(
      `batch tokens cannot have "${problem}" set`,
      `Leave out "${problem}", or make a service token.`,
    );
  }
  if (policies.includes(ROOT_POLICY))
    throw invalid("batch tokens cannot be root tokens", "Make a service token.");
}

function isOrphanWanted({ caller, fields, role, makesOrphans }: Creation): boolean {
  if (role !== undefined) return role.role.orphan;
  if (makesOrphans === true) return true;
  if (fields.no_parent && !caller.hasSudo) throw denied("making a token without a parent needs sudo");
  return fields.no_parent;
}

/** A role without bounds of its own keeps those of the caller: they are not shaken off by making a token. */
function boundCidrs(parent: TokenEntry, role: TokenRole | undefined): readonly string[] {
  return role !== undefined && role.boundCidrs.length > 0 ? role.boundCidrs : parent.boundCidrs;
}

async function entityOf(ports: CreationPorts, creation: Creation, isOrphan: boolean): Promise<string> {
  const alias = creation.fields.entity_alias.toLowerCase();
  if (alias === "") return isOrphan ? "" : creation.caller.token.entry.entityId;
  const allowed = creation.role?.role.allowedEntityAliases ?? [];
  if (!matchesGlob(allowed, alias)) {
    throw invalid(
      `entity alias ${JSON.stringify(alias.slice(0, 80))} is not one that the role allows`,
      "Make the token through a role whose allowed_entity_aliases have it.",
    );
  }
  return ports.entityOf(alias);
}

type ChosenLifetime = Pick<NewToken, "ttlSeconds" | "explicitMaxTtlSeconds" | "periodSeconds"> & {
  readonly expiresAtMs?: number;
  readonly warnings: readonly string[];
};

function lifetimeOf(
  { caller, fields, role }: Creation,
  policies: readonly string[],
  mount: MountTtls,
  nowMs: number,
): ChosenLifetime {
  const wish = {
    ttlSeconds: fields.ttl ?? fields.lease ?? 0,
    maxTtlSeconds: 0,
    explicitMaxTtlSeconds: least([fields.explicit_max_ttl, role?.role.explicitMaxTtlSeconds ?? 0]),
    periodSeconds:
      role !== undefined && role.role.periodSeconds > 0 ? role.role.periodSeconds : fields.period,
  };
  const isUnlimited = wish.ttlSeconds + wish.explicitMaxTtlSeconds + wish.periodSeconds === 0;
  if (!policies.includes(ROOT_POLICY) || !isUnlimited) return chooseLifetime(wish, mount, nowMs);
  if (isRoot(caller.token.entry) && caller.token.entry.expiresAtMs === undefined) {
    return { ttlSeconds: 0, explicitMaxTtlSeconds: 0, periodSeconds: 0, warnings: [] };
  }
  throw denied("a root token that expires cannot make one that does not");
}

function pathOf({ role, makesOrphans }: Creation): string {
  if (makesOrphans === true) return "auth/token/create-orphan";
  if (role === undefined) return "auth/token/create";
  const suffix = role.role.pathSuffix === "" ? "" : `/${role.role.pathSuffix}`;
  return `auth/token/create/${role.name}${suffix}`;
}

function displaySuffix(name: string): string {
  if (name === "") return "";
  return `-${name.slice(0, MAX_DISPLAY_NAME_CHARACTERS).replace(/[^A-Za-z0-9]+/g, "-")}`;
}

function checkedMeta(meta: Readonly<Record<string, string>>): Record<string, string> {
  const entries = Object.entries(meta);
  const isSmall = entries.every(([key, value]) => key.length + value.length <= MAX_META_CHARACTERS);
  if (entries.length <= MAX_META_ENTRIES && isSmall) return { ...meta };
  throw invalid(
    `field "meta" is larger than ${MAX_META_ENTRIES} texts of ${MAX_META_CHARACTERS} characters`,
    "Keep less with the token.",
  );
}

function denied(message: string): RksError {
  return new RksError("PERMISSION_DENIED", message, { suggestion: "Ask for a token that may do this." });
}

function invalid(message: string, suggestion: string): RksError {
  return new RksError("INPUT_INVALID", message, { suggestion });
}
