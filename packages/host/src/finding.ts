import { RksError, type ErrorCode } from "@rk8s/protocol";

/** One thing that a doctor looked at. */
export interface Finding {
  /** What was looked at, one or two words: `server chain`. */
  readonly check: string;
  /** `skip`: it could not be looked at, and the detail says why. */
  readonly status: "ok" | "warn" | "fail" | "skip";
  /** What was found. */
  readonly detail: string;
  /** Of a failure. */
  readonly code?: ErrorCode;
  /** What to do, one imperative sentence. */
  readonly remedy?: string;
}

/** The finding of a check that did not go well. */
export function failure(check: string, reason: unknown): Finding {
  const { code, message, suggestion } = RksError.from(reason);
  return {
    check,
    status: "fail",
    detail: message,
    code,
    ...(suggestion === undefined ? {} : { remedy: suggestion }),
  };
}
