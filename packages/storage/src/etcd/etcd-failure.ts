import { RksError } from "@rk8s/protocol";
import type { ErrorCode } from "@rk8s/protocol";

/** What is known about the one who answered, or did not. */
export interface Asked {
  readonly url: string;
  /** Common name of the client certificate; undefined without TLS. */
  readonly user: string | undefined;
  /** Of all keys of this store. */
  readonly prefix: string;
}

/**
 * `refused`: etcd has decided, nothing was done, and no other member would say anything else. `too-large`: the answer is
 * longer than what is read at once. Of all others nobody knows whether the request was done, and another member may help:
 * `late`: no answer in time; `unwell`: etcd answered that it cannot; `disconnected`: no connection, or one that broke;
 * `foreign`: what answers is not etcd.
 */
export type FailureKind = "refused" | "too-large" | "late" | "unwell" | "disconnected" | "foreign";

/** One request to one member that failed. It does not leave the adapter; `error` does. */
export class EtcdFailure extends Error {
  override readonly name = "EtcdFailure";
  readonly kind: FailureKind;
  readonly error: RksError;

  constructor(kind: FailureKind, error: RksError) {
    super(error.message, { cause: error });
    this.kind = kind;
    this.error = error;
  }

  /** Whether asking again, here or elsewhere, is of no use. */
  get isFinal(): boolean {
    return this.kind === "refused" || this.kind === "too-large";
  }
}

/** gRPC's status codes that mean something of their own here. */
const CANCELLED = 1;
const RESOURCE_EXHAUSTED = 8;
const UNIMPLEMENTED = 12;
const INTERNAL = 13;

/** What etcd says when it refuses for good. Its texts are part of its API: clients tell its errors apart by them. */
const REFUSALS: readonly { says: RegExp; code: ErrorCode; message: string; suggestion: string }[] = [
  {
    says: /database space exceeded/,
    code: "STORAGE_FULL",
    message: "no space is left in the store at",
    suggestion:
      "Compact and defragment etcd or raise its --quota-backend-bytes, then run etcdctl alarm disarm.",
  },
  {
    says: /revision has been compacted/,
    code: "CONFLICT",
    message: "older revisions were compacted in the store at",
    suggestion: "List again and watch from the revision of that list.",
  },
  {
    says: /corrupt/,
    code: "STORAGE_CORRUPT",
    message: "the members' data differ in the store at",
    suggestion: "Compare the members with etcdctl endpoint hashkv and replace the one that differs.",
  },
  {
    says: /request is too large|too many operations/,
    code: "INPUT_INVALID",
    message: "the transaction is too large for the store at",
    suggestion: "Start etcd with its default --max-request-bytes and --max-txn-ops or higher ones.",
  },
];

/** etcd's user is the common name of the client certificate. */
const NO_PERMISSION = /permission denied|user name|auth(?!.*revision)/;

/** Turn what gRPC threw into a failure; the one place where foreign errors of this adapter enter. */
export function etcdFailure(reason: unknown, asked: Asked): EtcdFailure {
  if (reason instanceof EtcdFailure) return reason;
  if (reason instanceof RksError && reason.code === "TIMED_OUT") return new EtcdFailure("late", reason);
  const { code, details } = statusOf(reason);
  const { url } = asked;
  if (code === RESOURCE_EXHAUSTED && details.startsWith("Received message larger")) {
    return failure("too-large", "MESSAGE_TOO_LARGE", `the store at "${url}" answered more than can be read`, {
      suggestion: "Ask for less at once.",
      cause: reason,
    });
  }
  if (details.startsWith("etcdserver:")) return answered(details, asked, reason);
  if (code === UNIMPLEMENTED || (code === INTERNAL && details.includes("parsing"))) {
    return new EtcdFailure("foreign", notEtcd(url, reason));
  }
  const what = code === CANCELLED ? "gave the request up" : "cannot be reached";
  return failure("disconnected", "UNREACHABLE", `the store at "${url}" ${what}`, {
    suggestion: "Check that etcd runs there and that nothing blocks the way to it.",
    cause: reason,
  });
}

/** The error for an endpoint that speaks something else. */
export function notEtcd(url: string, cause?: unknown): RksError {
  return new RksError("CONFIG_INVALID", `what answers at "${url}" is not etcd`, {
    suggestion: "Name the client port of an etcd v3 member, which is 2379 unless it was changed.",
    cause,
  });
}

function answered(details: string, asked: Asked, cause: unknown): EtcdFailure {
  const { url } = asked;
  for (const { says, code, message, suggestion } of REFUSALS) {
    if (says.test(details)) return failure("refused", code, `${message} "${url}"`, { suggestion, cause });
  }
  if (NO_PERMISSION.test(details)) return new EtcdFailure("refused", noPermission(asked, cause));
  const said = details.slice("etcdserver:".length).trim();
  return failure("unwell", "UNAVAILABLE", `the store at "${url}" cannot answer: ${said}`, {
    suggestion: "Start the members that are down: more than half of them must run and reach each other.",
    cause,
  });
}

function noPermission({ url, user, prefix }: Asked, cause: unknown): RksError {
  const who = user === undefined ? "who has no certificate" : `"${user}"`;
  return new RksError("PERMISSION_DENIED", `the store at "${url}" does not let ${who} use "${prefix}/"`, {
    suggestion: `Give the user a role with etcdctl role grant-permission ROLE --prefix=true readwrite "${prefix}/".`,
    cause,
  });
}

function failure(
  kind: FailureKind,
  code: ErrorCode,
  message: string,
  options: { readonly suggestion: string; readonly cause: unknown },
): EtcdFailure {
  return new EtcdFailure(kind, new RksError(code, message, options));
}

function statusOf(reason: unknown): { readonly code: number | undefined; readonly details: string } {
  if (!(reason instanceof Error)) return { code: undefined, details: "" };
  const { code, details } = reason as { code?: unknown; details?: unknown };
  return {
    code: typeof code === "number" ? code : undefined,
    details: typeof details === "string" ? details : "",
  };
}
