/** What a rule may grant on a path. `deny` takes away everything that other rules of the same path grant. */
export const CAPABILITIES = ["create", "read", "update", "patch", "delete", "list", "sudo", "deny"] as const;
export type Capability = (typeof CAPABILITIES)[number];

/** Capabilities on the paths that a pattern matches. */
export interface PolicyRule {
  /** Exact, or with `+` for any one segment and `*` at the end for any rest. No leading slash. */
  readonly path: string;
  readonly capabilities: ReadonlySet<Capability>;
}

export interface Policy {
  readonly rules: readonly PolicyRule[];
}

/** The policy that every token has unless it was made without: a token may look after itself. */
export const DEFAULT_POLICY_TEXT = `# A token may look itself up, renew itself and revoke itself.
path "auth/token/lookup-self" {
  capabilities = ["read", "update"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
`;
