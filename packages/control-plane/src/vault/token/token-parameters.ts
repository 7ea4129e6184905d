import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { JsonObject, LoginGrant } from "../backend.js";
import { normalizeCidr } from "../cidr.js";
import { count, duration, flag, list, text } from "../field-types.js";
import { isAssignable } from "../policy/builtin-policies.js";
import { normalName } from "../policy/policy-store.js";
import { ROOT_POLICY } from "./token-entry.js";

const TOKEN_TYPES = ["default", "service", "batch", "default-service", "default-batch"] as const;
/** No token needs more. */
const MAX_POLICIES = 256;
const MAX_CIDRS = 64;

/**
 * The fields that every login role has in Vault, for `z.object({ ...tokenParameterFields, … })`. The names without
 * `token_` are the older spelling; where both are given the newer one counts.
 */
export const tokenParameterFields = {
  token_ttl: duration(),
  token_max_ttl: duration(),
  token_explicit_max_ttl: duration(),
  token_period: duration(),
  token_policies: list(),
  token_no_default_policy: flag(),
  token_bound_cidrs: list(),
  token_num_uses: count(),
  token_type: text(),
  ttl: duration(),
  max_ttl: duration(),
  period: duration(),
  policies: list(),
  bound_cidrs: list(),
  num_uses: count(),
};

/** What was sent of `tokenParameterFields`. */
export type TokenParameterFields = z.output<z.ZodObject<typeof tokenParameterFields>>;

/** How a login role's tokens are made, as the role keeps it. Seconds; 0: the mount's. */
export const tokenParameters = z.object({
  ttlSeconds: z.int().min(0),
  maxTtlSeconds: z.int().min(0),
  explicitMaxTtlSeconds: z.int().min(0),
  periodSeconds: z.int().min(0),
  policies: z.array(z.string()).readonly(),
  noDefaultPolicy: z.boolean(),
  boundCidrs: z.array(z.string()).readonly(),
  numUses: z.int().min(0),
  type: z.enum(TOKEN_TYPES),
});
export type TokenParameters = Readonly<z.output<typeof tokenParameters>>;

/** What a role has that says nothing of its tokens. */
export const DEFAULT_TOKEN_PARAMETERS: TokenParameters = {
  ttlSeconds: 0,
  maxTtlSeconds: 0,
  explicitMaxTtlSeconds: 0,
  periodSeconds: 0,
  policies: [],
  noDefaultPolicy: false,
  boundCidrs: [],
  numUses: 0,
  type: "default",
};

/**
 * Put what was sent over what the role had.
 * @throws {RksError} INPUT_INVALID for policies that no login gives, bad networks, and what contradicts itself.
 */
export function readTokenParameters(
  fields: TokenParameterFields,
  stored: TokenParameters = DEFAULT_TOKEN_PARAMETERS,
): TokenParameters {
  const parameters: TokenParameters = {
    ttlSeconds: fields.token_ttl ?? fields.ttl ?? stored.ttlSeconds,
    maxTtlSeconds: fields.token_max_ttl ?? fields.max_ttl ?? stored.maxTtlSeconds,
    explicitMaxTtlSeconds: fields.token_explicit_max_ttl ?? stored.explicitMaxTtlSeconds,
    periodSeconds: fields.token_period ?? fields.period ?? stored.periodSeconds,
    policies: loginPolicies(fields.token_policies ?? fields.policies) ?? stored.policies,
    noDefaultPolicy: fields.token_no_default_policy ?? stored.noDefaultPolicy,
    boundCidrs: readCidrs(fields.token_bound_cidrs ?? fields.bound_cidrs) ?? stored.boundCidrs,
    numUses: fields.token_num_uses ?? fields.num_uses ?? stored.numUses,
    type: fields.token_type === undefined ? stored.type : readTokenType(fields.token_type),
  };
  assertPossible(parameters);
  return parameters;
}

/** The fields of a role's answer. */
export function describeTokenParameters(parameters: TokenParameters): JsonObject {
  return {
    token_ttl: parameters.ttlSeconds,
    token_max_ttl: parameters.maxTtlSeconds,
    token_explicit_max_ttl: parameters.explicitMaxTtlSeconds,
    token_period: parameters.periodSeconds,
    token_policies: parameters.policies,
    token_no_default_policy: parameters.noDefaultPolicy,
    token_bound_cidrs: parameters.boundCidrs,
    token_num_uses: parameters.numUses,
    token_type: parameters.type,
  };
}

/** The grant of a login through a role; `who` says who it is. A role of type `default` leaves the type to the mount. */
export function toLoginGrant(
  parameters: TokenParameters,
  who: Pick<LoginGrant, "displayName" | "aliasName" | "metadata" | "renewal">,
): LoginGrant {
  const { type, ...rest } = parameters;
  const grant = { ...rest, ...who };
  return type === "default" ? grant : { ...grant, tokenType: isBatch(type) ? "batch" : "service" };
}

/**
 * Bring networks into their one spelling; undefined stays undefined.
 * @throws {RksError} INPUT_INVALID
 */
export function readCidrs(cidrs: readonly string[] | undefined): readonly string[] | undefined {
  if (cidrs === undefined) return undefined;
  if (cidrs.length > MAX_CIDRS) {
    throw contradiction(`${cidrs.length} networks are too many`, `Give at most ${MAX_CIDRS} networks.`);
  }
  return [...new Set(cidrs.map(normalizeCidr))];
}

/** @throws {RksError} INPUT_INVALID */
export function readTokenType(type: string): TokenParameters["type"] {
  const known = TOKEN_TYPES.find((name) => name === (type === "" ? "default" : type));
  if (known !== undefined) return known;
  throw contradiction(
    `token type ${JSON.stringify(type.slice(0, 40))} is not known`,
    `Use one of: ${TOKEN_TYPES.join(", ")}.`,
  );
}

function loginPolicies(names: readonly string[] | undefined): readonly string[] | undefined {
  if (names === undefined) return undefined;
  const normal = [...new Set(names.map(normalName))].toSorted();
  if (normal.length > MAX_POLICIES) {
    throw contradiction(`${normal.length} policies are too many`, `Give at most ${MAX_POLICIES} policies.`);
  }
  const refused = normal.find((name) => name === ROOT_POLICY || !isAssignable(name));
  if (refused === undefined) return normal;
  throw contradiction(`a login cannot give the policy "${refused}"`, "Name policies of your own.");
}

function isBatch(type: TokenParameters["type"]): boolean {
  return type === "batch" || type === "default-batch";
}

function assertPossible({ ttlSeconds, maxTtlSeconds, periodSeconds, numUses, type }: TokenParameters): void {
  if (maxTtlSeconds > 0 && ttlSeconds > maxTtlSeconds) {
    throw contradiction(
      `"token_ttl" of ${ttlSeconds} s is longer than "token_max_ttl" of ${maxTtlSeconds} s`,
      "Make token_ttl at most token_max_ttl.",
    );
  }
  if (!isBatch(type)) return;
  if (numUses !== 0) {
    throw contradiction(
      `batch tokens cannot have "token_num_uses" set`,
      "Leave it out, or use type service.",
    );
  }
  if (periodSeconds !== 0) {
    throw contradiction(`batch tokens cannot have "token_period" set`, "Leave it out, or use type service.");
  }
}

function contradiction(message: string, suggestion: string): RksError {
  return new RksError("INPUT_INVALID", message, { suggestion });
}
