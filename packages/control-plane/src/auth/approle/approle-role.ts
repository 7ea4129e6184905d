import { randomUUID } from "node:crypto";

import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { JsonObject } from "../../vault/backend.js";
import { count, duration, flag, list, text } from "../../vault/field-types.js";
import {
  describeTokenParameters,
  readCidrs,
  readTokenParameters,
  tokenParameterFields,
  tokenParameters,
} from "../../vault/token/token-parameters.js";

/** No role id is longer. */
export const MAX_ROLE_ID_CHARACTERS = 4096;

/** Fields of a role, Vault's names; `bound_cidr_list` is the older spelling of `secret_id_bound_cidrs`. */
export const roleFields = z.object({
  role_id: text("", { maxCharacters: MAX_ROLE_ID_CHARACTERS }),
  bind_secret_id: flag(),
  secret_id_bound_cidrs: list(),
  bound_cidr_list: list(),
  secret_id_num_uses: count(),
  secret_id_ttl: duration(),
  local_secret_ids: flag(),
  ...tokenParameterFields,
});

/** A role as it is kept. */
export const approleRole = z.object({
  /** Of this role and no later one of its name: what secret ids are kept under. */
  uid: z.string(),
  roleId: z.string(),
  bindSecretId: z.boolean(),
  /** Networks that secret ids are good from; empty: any. */
  secretIdCidrs: z.array(z.string()).readonly(),
  /** 0: any number. */
  secretIdNumUses: z.int().min(0),
  /** 0: for ever. */
  secretIdTtlSeconds: z.int().min(0),
  token: tokenParameters,
});
export type ApproleRole = Readonly<z.infer<typeof approleRole>>;

/**
 * Put what was sent over what the role was. The role id stays unless one is sent.
 * @throws {RksError} INPUT_INVALID, also for a role that anybody could log in with.
 */
export function readRole(fields: z.output<typeof roleFields>, stored: ApproleRole | undefined): ApproleRole {
  const role: ApproleRole = {
    uid: stored?.uid ?? randomUUID(),
    roleId: fields.role_id === "" ? (stored?.roleId ?? randomUUID()) : fields.role_id,
    bindSecretId: fields.bind_secret_id ?? stored?.bindSecretId ?? true,
    secretIdCidrs:
      readCidrs(fields.secret_id_bound_cidrs ?? fields.bound_cidr_list) ?? stored?.secretIdCidrs ?? [],
    secretIdNumUses: fields.secret_id_num_uses ?? stored?.secretIdNumUses ?? 0,
    secretIdTtlSeconds: fields.secret_id_ttl ?? stored?.secretIdTtlSeconds ?? 0,
    token: readTokenParameters(fields, stored?.token),
  };
  if (role.bindSecretId || role.secretIdCidrs.length > 0 || role.token.boundCidrs.length > 0) return role;
  throw new RksError("INPUT_INVALID", "at least one constraint should be enabled on the role", {
    suggestion: "Set bind_secret_id, secret_id_bound_cidrs or token_bound_cidrs.",
  });
}

/** A role in Vault's words. The role id has a path of its own. */
export function describeRole(role: ApproleRole): JsonObject {
  return {
    bind_secret_id: role.bindSecretId,
    local_secret_ids: false,
    secret_id_bound_cidrs: role.secretIdCidrs,
    secret_id_num_uses: role.secretIdNumUses,
    secret_id_ttl: role.secretIdTtlSeconds,
    ...describeTokenParameters(role.token),
  };
}
