import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { JsonObject } from "../../vault/backend.js";
import { list, oneOf, text } from "../../vault/field-types.js";
import {
  describeTokenParameters,
  readTokenParameters,
  tokenParameterFields,
  tokenParameters,
} from "../../vault/token/token-parameters.js";
import { matchesGlob } from "../glob.js";

const ALIAS_SOURCES = ["serviceaccount_uid", "serviceaccount_name"] as const;

/** Fields of a role, Vault's names. */
export const roleFields = z.object({
  bound_service_account_names: list(),
  bound_service_account_namespaces: list(),
  bound_service_account_namespace_selector: text(""),
  audience: text(),
  alias_name_source: oneOf("", ["", ...ALIAS_SOURCES]),
  ...tokenParameterFields,
});

/** A role as it is kept. */
export const kubernetesRole = z.object({
  /** With `*` for any text. */
  names: z.array(z.string()).readonly(),
  namespaces: z.array(z.string()).readonly(),
  /** Empty: any. */
  audience: z.string(),
  aliasNameSource: z.enum(ALIAS_SOURCES),
  token: tokenParameters,
});
export type KubernetesRole = Readonly<z.infer<typeof kubernetesRole>>;

/**
 * Put what was sent over what the role was.
 * @throws {RksError} INPUT_INVALID, UNSUPPORTED for a selector of namespaces.
 */
export function readRole(
  fields: z.output<typeof roleFields>,
  stored: KubernetesRole | undefined,
): KubernetesRole {
  if (fields.bound_service_account_namespace_selector !== "") {
    throw new RksError("UNSUPPORTED", `"bound_service_account_namespace_selector" is not built`, {
      suggestion: "Name the namespaces in bound_service_account_namespaces.",
    });
  }
  const { alias_name_source: source } = fields;
  const role: KubernetesRole = {
    names: fields.bound_service_account_names ?? stored?.names ?? [],
    namespaces: fields.bound_service_account_namespaces ?? stored?.namespaces ?? [],
    audience: fields.audience ?? stored?.audience ?? "",
    aliasNameSource: source === "" ? (stored?.aliasNameSource ?? "serviceaccount_uid") : source,
    token: readTokenParameters(fields, stored?.token),
  };
  if (role.names.length === 0 || role.namespaces.length === 0) {
    const missing = role.names.length === 0 ? "names" : "namespaces";
    throw new RksError("INPUT_INVALID", `"bound_service_account_${missing}" can not be empty`, {
      suggestion: "Name who may log in.",
    });
  }
  if (role.names.some(isAny) && role.namespaces.some(isAny)) {
    throw new RksError("INPUT_INVALID", `service account names and namespaces can not both be "*"`, {
      suggestion: "Name the accounts or the namespaces.",
    });
  }
  return role;
}

/** A role in Vault's words. */
export function describeRole(role: KubernetesRole): JsonObject {
  return {
    alias_name_source: role.aliasNameSource,
    audience: role.audience,
    bound_service_account_names: role.names,
    bound_service_account_namespace_selector: "",
    bound_service_account_namespaces: role.namespaces,
    ...describeTokenParameters(role.token),
  };
}

/**
 * Check that a service account may log in with a role.
 * @throws {RksError} PERMISSION_DENIED
 */
export function assertBound(
  role: KubernetesRole,
  account: { readonly name: string; readonly namespace: string },
): void {
  const shown = JSON.stringify(`${account.namespace}/${account.name}`.slice(0, 200));
  if (!role.names.some((pattern) => matchesGlob(pattern, account.name))) {
    throw notAuthorized(`service account name not authorized: ${shown}`, "names");
  }
  if (!role.namespaces.some((pattern) => matchesGlob(pattern, account.namespace))) {
    throw notAuthorized(`namespace not authorized: ${shown}`, "namespaces");
  }
}

/** `**` is as much as `*`. */
function isAny(pattern: string): boolean {
  return /^\*+$/.test(pattern);
}

function notAuthorized(message: string, field: string): RksError {
  return new RksError("PERMISSION_DENIED", message, {
    suggestion: `Use another role, or add it to the role's bound_service_account_${field}.`,
  });
}
