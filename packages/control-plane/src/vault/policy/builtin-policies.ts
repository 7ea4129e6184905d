/** Allows everything; has no text. */
const ROOT = "root";
/** What every token may do unless it was made without; can be replaced, not deleted. */
export const DEFAULT = "default";
/** What the token of a wrapped answer may do. Tokens cannot be made with it by hand. */
export const RESPONSE_WRAPPING = "response-wrapping";

/** Text of `response-wrapping`. */
const RESPONSE_WRAPPING_TEXT = `path "cubbyhole/response" {
  capabilities = ["create", "read"]
}
path "sys/wrapping/unwrap" {
  capabilities = ["update"]
}
`;

/** Text of `default` until somebody writes another. */
export const DEFAULT_POLICY_TEXT = `# The token itself: what it is, how long it lives, what it may do.
path "auth/token/lookup-self" {
  capabilities = ["read", "update"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
path "sys/capabilities-self" {
  capabilities = ["update"]
}
path "sys/internal/ui/resultant-acl" {
  capabilities = ["read"]
}

# Who holds the token. Without an identity these two rules are left out.
path "identity/entity/id/{{identity.entity.id}}" {
  capabilities = ["read"]
}
path "identity/entity/name/{{identity.entity.name}}" {
  capabilities = ["read"]
}

# Leases, for whoever knows their id.
path "sys/leases/lookup" {
  capabilities = ["update"]
}
path "sys/leases/renew" {
  capabilities = ["update"]
}

# A place of the token's own, which ends with it.
path "cubbyhole/*" {
  capabilities = ["create", "read", "update", "delete", "list"]
}

# Passing something on inside a token that works once.
path "sys/wrapping/wrap" {
  capabilities = ["update"]
}
path "sys/wrapping/lookup" {
  capabilities = ["update"]
}
path "sys/wrapping/unwrap" {
  capabilities = ["update"]
}
`;

/** Policies whose text is part of the program. */
export const FIXED_POLICIES: ReadonlyMap<string, string> = new Map([
  [ROOT, ""],
  [RESPONSE_WRAPPING, RESPONSE_WRAPPING_TEXT],
]);

/** Whether a token may be made with the policy by whoever may make tokens. The name is lower case. */
export function isAssignable(name: string): boolean {
  return name !== RESPONSE_WRAPPING;
}
