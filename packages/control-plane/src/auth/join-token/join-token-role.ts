import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { JsonObject } from "../../vault/backend.js";
import { list } from "../../vault/field-types.js";
import {
  describeTokenParameters,
  readTokenParameters,
  tokenParameterFields,
  tokenParameters,
} from "../../vault/token/token-parameters.js";
import { matchesGlob } from "../glob.js";
import type { JoinTokenFacts } from "./join-token-keys.js";

/** Fields of a login role. */
export const roleFields = z.object({
  bound_token_roles: list(),
  bound_node_names: list(),
  ...tokenParameterFields,
});

/** A login role as it is kept. */
export const joinTokenRole = z.object({
  /** Join tokens of which roles log in. */
  tokenRoles: z.array(z.enum(["node", "operator"])).readonly(),
  /** Node names that a node's token must be for, with `*`; empty: any, also none. */
  nodeNames: z.array(z.string()).readonly(),
  token: tokenParameters,
});
export type JoinTokenRole = Readonly<z.infer<typeof joinTokenRole>>;

/** Put what was sent over what the role was. Unless it says otherwise it is for operators. @throws {RksError} INPUT_INVALID */
export function readRole(
  fields: z.output<typeof roleFields>,
  stored: JoinTokenRole | undefined,
): JoinTokenRole {
  const asked = fields.bound_token_roles ?? stored?.tokenRoles ?? ["operator"];
  const tokenRoles = asked.filter((role) => role === "node" || role === "operator");
  if (tokenRoles.length !== asked.length || asked.length === 0) {
    throw new RksError("INPUT_INVALID", `"bound_token_roles" has what is no role of join tokens`, {
      suggestion: "Use node, operator or both.",
    });
  }
  return {
    tokenRoles,
    nodeNames: fields.bound_node_names ?? stored?.nodeNames ?? [],
    token: readTokenParameters(fields, stored?.token),
  };
}

/** A login role in words like Vault's. */
export function describeRole(role: JoinTokenRole): JsonObject {
  return {
    bound_node_names: role.nodeNames,
    bound_token_roles: role.tokenRoles,
    ...describeTokenParameters(role.token),
  };
}

/** Check that a join token may log in with a role. @throws {RksError} JOIN_TOKEN_SCOPE */
export function assertBound(name: string, role: JoinTokenRole | undefined, token: JoinTokenFacts): void {
  const { node } = token;
  const fitsNode =
    token.role === "operator" ||
    role?.nodeNames.length === 0 ||
    (node !== null && role?.nodeNames.some((pattern) => matchesGlob(pattern, node)) === true);
  if (role?.tokenRoles.includes(token.role) === true && fitsNode) return;
  throw new RksError("JOIN_TOKEN_SCOPE", `login role "${name}" is not for join token "${token.id}"`, {
    suggestion: "Name a login role that lets tokens of this role and node in.",
  });
}
