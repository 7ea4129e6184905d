/**
 * Why policies do not let a request go on: nothing is said of the path; it is denied; the rule for it does not have the
 * operation; the answer must be wrapped, or for another time; a field must be given, or must not be.
 */
export type Denial =
  | "no-rule"
  | "denied"
  | "operation"
  | "wrapping-required"
  | "wrapping-ttl"
  | "parameter-missing"
  | "parameter-denied";

const NOT_ALLOWED = "Use a token whose policies allow this.";

const SUGGESTIONS: Readonly<Record<Denial, string>> = {
  "no-rule": NOT_ALLOWED,
  denied: NOT_ALLOWED,
  operation:
    "Use an operation that the token's policies allow on this path; ask sys/capabilities-self for them.",
  "wrapping-required": "Ask for a wrapped answer, with a time to live in X-Vault-Wrap-TTL.",
  "wrapping-ttl": "Ask for a wrapped answer with a time to live that the token's policies allow.",
  "parameter-missing": "Give the fields that the token's policies require on this path.",
  "parameter-denied": "Leave out the fields and values that the token's policies do not allow on this path.",
};

/** What the holder of a token can do about it, in a sentence that tells nothing of what the policies say. */
export function denialSuggestion(denial: Denial): string {
  return SUGGESTIONS[denial];
}
