/** What a rule may grant on a path. `deny` takes away everything that other rules of the same path grant. */
export const CAPABILITIES = [
  "create",
  "read",
  "update",
  "patch",
  "delete",
  "list",
  "scan",
  "sudo",
  "deny",
] as const;
export type Capability = (typeof CAPABILITIES)[number];

/** A value that a rule compares a request's field with; decoded JSON. */
export type ParameterValue =
  string | number | boolean | null | readonly ParameterValue[] | { readonly [name: string]: ParameterValue };

/** In the place of a name: any field. */
export const ANY_FIELD = "*";

/** Values by the name of a field, in lower case, or by `ANY_FIELD`; an empty list stands for any value. */
export type ParameterRules = ReadonlyMap<string, readonly ParameterValue[]>;

/** What one block of a policy says of the paths that its pattern matches. */
export interface PolicyRule {
  /**
   * Exact, or with `+` for any one segment and `*` at the end for any rest; no leading slash. With a `template` it is
   * the text as it was written.
   */
  readonly path: string;
  /** Set when the path has to be filled in from an identity before it means anything. */
  readonly template?: PathTemplate;
  readonly capabilities: ReadonlySet<Capability>;
  /** Nothing else may be given. */
  readonly allowedParameters?: ParameterRules;
  readonly deniedParameters?: ParameterRules;
  /** Names in lower case. */
  readonly requiredParameters?: readonly string[];
  /** The answer must be asked for wrapped, for this long at least. */
  readonly minWrapTtlSeconds?: number;
  /** The answer must be asked for wrapped, for this long at most. */
  readonly maxWrapTtlSeconds?: number;
}

export interface Policy {
  readonly rules: readonly PolicyRule[];
}

/** A path with places that an identity fills, in the order in which they are written. */
export type PathTemplate = readonly (string | Placeholder)[];

/** One `{{…}}` of a path. */
export interface Placeholder {
  /** Undefined when the identity has no such thing. */
  readonly resolve: (identity: PolicyIdentity) => string | undefined;
}

/** Who a token belongs to, as far as policies can name it. */
export interface PolicyIdentity {
  readonly id: string;
  readonly name: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly aliases: readonly PolicyAlias[];
}

/** What an auth mount calls somebody. */
interface PolicyAlias {
  readonly mountAccessor: string;
  readonly id: string;
  readonly name: string;
  readonly metadata: Readonly<Record<string, string>>;
}
