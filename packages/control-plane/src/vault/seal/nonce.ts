import { RksError } from "@rk8s/protocol";

/** @throws {RksError} INPUT_INVALID when a share was meant for another attempt than the one under way. */
export function assertNonce(expected: string, given: string): void {
  if (given === expected) return;
  const what =
    given === "" ? "the nonce is missing" : `the nonce "${given.slice(0, 64)}" is not the attempt's`;
  throw new RksError("INPUT_INVALID", what, {
    suggestion: "Give the nonce that starting the attempt answered with.",
  });
}
