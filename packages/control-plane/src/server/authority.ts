import { RksError } from "@rk8s/protocol";
import { Acl } from "../vault/policy/acl.js";
import type { PolicyStore } from "../vault/policy/policy-store.js";

/** What is asked for, in the words of the vault's policies. */
export type Capability = "read" | "list" | "update" | "delete";

/** What policies are asked about a request to the cluster. */
export interface Question {
  readonly operation: Capability;
  /** `rk8s/pods/default/web`. */
  readonly path: string;
}

/** The questions of one message or path: docs/authorization.md lists them. */
export interface Asks {
  readonly operation: Capability;
  /** Segments; `:name` stands for a value of the request, `:name?` for one that may be missing: `rk8s/pods/:namespace?`. */
  readonly pattern: string;
}

/**
 * Put a request's values into the pattern.
 * @throws {RksError} INPUT_INVALID for a value that is more or less than one segment.
 */
export function questionOf(
  { operation, pattern }: Asks,
  values: Readonly<Record<string, unknown>>,
): Question {
  const segments = pattern.split("/").flatMap((segment) => {
    const [, name = "", optional = ""] = /^:(\w+)(\??)$/.exec(segment) ?? [];
    if (name === "") return [segment];
    const value = values[name];
    if (value === undefined && optional !== "") return [];
    if (typeof value === "string" && !/^\.{0,2}$|[/\\]/.test(value)) return [value];
    throw new RksError("INPUT_INVALID", `${JSON.stringify(value)?.slice(0, 80)} cannot be a ${name}`, {
      suggestion: "Give a name without slashes.",
    });
  });
  return { operation, path: segments.join("/") };
}

/** On whose behalf an operator's request is made. */
export interface Authority {
  /** For the audit log: `operator (socket)`, `operator 0123456789abcdef`, `token approle-ci`. */
  readonly actor: string;
  /** The policies' names; "all" stands for everything. */
  readonly policies: readonly string[] | "all";
  /** What the policies allow now. */
  acl(): Promise<Acl>;
}

/** The policies of the vault. */
export type Policies = Pick<PolicyStore, "acl" | "read">;

const EVERYTHING = Promise.resolve(new Acl([], { isRoot: true }));

/** Whoever uses the socket. Its mode decides who that is, and no policy. */
export const SOCKET_AUTHORITY: Authority = {
  actor: "operator (socket)",
  policies: "all",
  acl: () => EVERYTHING,
};

/** An operator with a certificate of a join token: may what the token's policies say at this moment. */
export function operatorAuthority(
  token: { readonly id: string; readonly policies: readonly string[] },
  policies: Pick<Policies, "acl">,
): Authority {
  return {
    actor: `operator ${token.id}`,
    policies: token.policies,
    acl: () => policies.acl(token.policies),
  };
}

/** @throws {RksError} PERMISSION_DENIED when the policies do not allow it. */
export async function assertMay(authority: Authority, question: Question): Promise<void> {
  if ((await authority.acl()).decide(question).allowed) return;
  throw notAllowed(authority, question);
}

/**
 * Refuse policies to somebody who does not have them: nobody hands out more than what is his. `sudo` on the path lifts
 * that, as it does for the vault's own tokens.
 * @throws {RksError} PERMISSION_DENIED
 */
export async function assertMayGrant(
  authority: Authority,
  names: readonly string[],
  question: Question,
): Promise<void> {
  const { policies } = authority;
  if (policies === "all" || policies.includes("root")) return;
  if (names.every((name) => policies.includes(name))) return;
  if ((await authority.acl()).decide(question).sudo) return;
  const missing = names.find((name) => !policies.includes(name)) ?? "";
  throw new RksError("PERMISSION_DENIED", `${authority.actor} may not hand out the policy "${missing}"`, {
    suggestion: `Choose a policy that your own token has, or ask for sudo on "${question.path}".`,
  });
}

function notAllowed({ actor }: Authority, { operation, path }: Question): RksError {
  return new RksError("PERMISSION_DENIED", `${actor} may not ${operation} "${path.slice(0, 200)}"`, {
    suggestion: `Ask for a token with a policy that grants ${operation} on this path: \`rks gen join-token --role operator --policy NAME\`.`,
  });
}
