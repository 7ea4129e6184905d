import { RksError } from "@rk8s/protocol";

/** There is no such lease, or it has ended. */
export function noLease(id: string): RksError {
  return new RksError("INPUT_INVALID", `lease not found: "${id.slice(0, 200)}"`, {
    suggestion: "It may have ended; ask for a new secret.",
  });
}

/** What was given out lasts as long as it does. */
export function notRenewable(id: string): RksError {
  return new RksError("INPUT_INVALID", `lease is not renewable: "${id.slice(0, 200)}"`, {
    suggestion: "Ask for a new secret.",
  });
}

/** Who asks for a secret must be alive until it is made. */
export function tokenGone(): RksError {
  return new RksError("PERMISSION_DENIED", "the token ended while the secret was being made", {
    suggestion: "Log in again.",
  });
}

/** A backend did not answer in time. */
export function tookTooLong(deadlineMs: number): RksError {
  return new RksError("TIMED_OUT", `revoking took longer than ${deadlineMs / 1000} s`, {
    suggestion: "Check what the secret gives access to.",
  });
}

/** A lease changed with every try to change it. */
export function leaseBusy(what: string): RksError {
  return new RksError("BUSY", `the leases of "${what.slice(0, 200)}" are changing all the time`, {
    suggestion: "Try again in a moment.",
  });
}
