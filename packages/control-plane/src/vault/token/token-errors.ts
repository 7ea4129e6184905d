import { RksError } from "@rk8s/protocol";

/** Who makes a token must be alive until it is made. */
export function parentGone(): RksError {
  return new RksError("PERMISSION_DENIED", "the token that makes the new one is not alive any more", {
    suggestion: "Log in again.",
  });
}

/** A chosen token is taken already, also by one that was revoked a moment ago. */
export function tokenExists(): RksError {
  return new RksError("INPUT_INVALID", "a token with the chosen id exists already", {
    suggestion: "Choose another id, or let the vault choose it.",
  });
}

/** A token changed with every try to change it. */
export function tooBusy(): RksError {
  return new RksError("BUSY", "the token is being used by too many requests at once", {
    suggestion: "Try again in a moment, with one token for each worker.",
  });
}
