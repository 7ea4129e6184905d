import { RksError } from "@rk8s/protocol";
import { pagesOf, type Storage } from "@rk8s/storage";
import { z } from "zod";

import type { JsonObject } from "../backend.js";
import { count, duration, flag, list, text } from "../field-types.js";
import { normalName } from "../policy/policy-store.js";
import { readCidrs, readTokenType } from "./token-parameters.js";

const ROLE_PREFIX = "token/role/";
const ROLE_NAME = /^[A-Za-z0-9][\w.@-]{0,127}$/;
const PATH_SUFFIX = /^[\w-]{1,64}$/;

const tokenRole = z.object({
  allowedPolicies: z.array(z.string()).readonly(),
  allowedPoliciesGlob: z.array(z.string()).readonly(),
  disallowedPolicies: z.array(z.string()).readonly(),
  disallowedPoliciesGlob: z.array(z.string()).readonly(),
  allowedEntityAliases: z.array(z.string()).readonly(),
  orphan: z.boolean(),
  renewable: z.boolean(),
  pathSuffix: z.string(),
  periodSeconds: z.int().min(0),
  explicitMaxTtlSeconds: z.int().min(0),
  boundCidrs: z.array(z.string()).readonly(),
  noDefaultPolicy: z.boolean(),
  numUses: z.int().min(0),
  type: z.enum(["default", "service", "batch", "default-service", "default-batch"]),
});

/** What tokens made through `auth/token/create/:role` are like. */
export type TokenRole = Readonly<z.output<typeof tokenRole>>;

/** Fields of `auth/token/roles/:role`; the names without `token_` are the older spelling. */
export const tokenRoleFields = z.object({
  allowed_policies: list(),
  allowed_policies_glob: list(),
  disallowed_policies: list(),
  disallowed_policies_glob: list(),
  allowed_entity_aliases: list(),
  orphan: flag(),
  renewable: flag(),
  path_suffix: text(),
  token_period: duration(),
  period: duration(),
  token_explicit_max_ttl: duration(),
  explicit_max_ttl: duration(),
  token_bound_cidrs: list(),
  bound_cidrs: list(),
  token_no_default_policy: flag(),
  token_num_uses: count(),
  token_type: text(),
});

const NEW_ROLE: TokenRole = {
  allowedPolicies: [],
  allowedPoliciesGlob: [],
  disallowedPolicies: [],
  disallowedPoliciesGlob: [],
  allowedEntityAliases: [],
  orphan: false,
  renewable: true,
  pathSuffix: "",
  periodSeconds: 0,
  explicitMaxTtlSeconds: 0,
  boundCidrs: [],
  noDefaultPolicy: false,
  numUses: 0,
  type: "default-service",
};

/** The roles of the token login method. */
export class TokenRoles {
  readonly #storage: Storage;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  /** @throws {RksError} STORAGE_CORRUPT */
  async read(name: string): Promise<TokenRole | undefined> {
    if (!ROLE_NAME.test(name)) return undefined;
    const stored = await this.#storage.get(ROLE_PREFIX + name);
    if (stored === undefined) return undefined;
    try {
      return tokenRole.parse(JSON.parse(Buffer.from(stored.value).toString()));
    } catch (cause) {
      throw new RksError("STORAGE_CORRUPT", `token role "${name}" has a form that is not known`, {
        suggestion: "Use the version of rks that wrote the data folder.",
        cause,
      });
    }
  }

  /** Make a role, or change what is sent of one. @throws {RksError} INPUT_INVALID */
  async write(name: string, fields: z.output<typeof tokenRoleFields>): Promise<void> {
    if (!ROLE_NAME.test(name)) {
      throw invalid(
        `role name ${JSON.stringify(name.slice(0, 80))} is not possible`,
        "Use letters and digits.",
      );
    }
    const role = changed((await this.read(name)) ?? NEW_ROLE, fields);
    const value = Buffer.from(JSON.stringify(role));
    await this.#storage.transaction([], [{ type: "put", key: ROLE_PREFIX + name, value }]);
  }

  async delete(name: string): Promise<void> {
    if (!ROLE_NAME.test(name)) return;
    await this.#storage.transaction([], [{ type: "delete", key: ROLE_PREFIX + name }]);
  }

  /** The names, in order. */
  async list(): Promise<readonly string[]> {
    const names: string[] = [];
    for await (const entries of pagesOf(this.#storage, ROLE_PREFIX)) {
      names.push(...entries.map(({ key }) => key.slice(ROLE_PREFIX.length)));
    }
    return names;
  }
}

/** The data of a role's answer. */
export function describeTokenRole(name: string, role: TokenRole): JsonObject {
  return {
    name,
    allowed_policies: role.allowedPolicies,
    allowed_policies_glob: role.allowedPoliciesGlob,
    disallowed_policies: role.disallowedPolicies,
    disallowed_policies_glob: role.disallowedPoliciesGlob,
    allowed_entity_aliases: role.allowedEntityAliases,
    orphan: role.orphan,
    renewable: role.renewable,
    path_suffix: role.pathSuffix,
    period: role.periodSeconds,
    token_period: role.periodSeconds,
    explicit_max_ttl: role.explicitMaxTtlSeconds,
    token_explicit_max_ttl: role.explicitMaxTtlSeconds,
    token_bound_cidrs: role.boundCidrs,
    token_no_default_policy: role.noDefaultPolicy,
    token_num_uses: role.numUses,
    token_type: role.type,
  };
}

function changed(role: TokenRole, fields: z.output<typeof tokenRoleFields>): TokenRole {
  const next: TokenRole = {
    allowedPolicies: policyNames(fields.allowed_policies) ?? role.allowedPolicies,
    allowedPoliciesGlob: lower(fields.allowed_policies_glob) ?? role.allowedPoliciesGlob,
    disallowedPolicies: policyNames(fields.disallowed_policies) ?? role.disallowedPolicies,
    disallowedPoliciesGlob: lower(fields.disallowed_policies_glob) ?? role.disallowedPoliciesGlob,
    allowedEntityAliases: lower(fields.allowed_entity_aliases) ?? role.allowedEntityAliases,
    orphan: fields.orphan ?? role.orphan,
    renewable: fields.renewable ?? role.renewable,
    pathSuffix: fields.path_suffix ?? role.pathSuffix,
    periodSeconds: fields.token_period ?? fields.period ?? role.periodSeconds,
    explicitMaxTtlSeconds:
      fields.token_explicit_max_ttl ?? fields.explicit_max_ttl ?? role.explicitMaxTtlSeconds,
    boundCidrs: readCidrs(fields.token_bound_cidrs ?? fields.bound_cidrs) ?? role.boundCidrs,
    noDefaultPolicy: fields.token_no_default_policy ?? role.noDefaultPolicy,
    numUses: fields.token_num_uses ?? role.numUses,
    type: fields.token_type === undefined ? role.type : readTokenType(fields.token_type),
  };
  if (next.pathSuffix !== "" && !PATH_SUFFIX.test(next.pathSuffix)) {
    throw invalid(
      `path suffix ${JSON.stringify(next.pathSuffix.slice(0, 80))} is not possible`,
      "Use at most 64 letters, digits, _ and -.",
    );
  }
  if (next.type !== "batch") return next;
  const problem = (
    [
      ["token_period", next.periodSeconds !== 0],
      ["renewable", fields.renewable === true],
      ["token_explicit_max_ttl", next.explicitMaxTtlSeconds !== 0],
      ["token_num_uses", next.numUses !== 0],
    ] as const
  ).find(([, isWrong]) => isWrong)?.[0];
  if (problem === undefined) return { ...next, renewable: false };
  throw invalid(`batch tokens cannot have "${problem}" set`, `Leave out "${problem}", or use type service.`);
}

function policyNames(policies: readonly string[] | undefined): readonly string[] | undefined {
  return policies === undefined ? undefined : [...new Set(policies.map(normalName))].toSorted();
}

function lower(texts: readonly string[] | undefined): readonly string[] | undefined {
  return texts?.map((value) => value.toLowerCase());
}

function invalid(message: string, suggestion: string): RksError {
  return new RksError("INPUT_INVALID", message, { suggestion });
}
