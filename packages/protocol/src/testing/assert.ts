import { hex } from "../bytes.js";
import { RksError, type ErrorCode } from "../errors.js";

/** Fail unless both values print the same; bytes count as their hexadecimal digits. */
export function assertSame(actual: unknown, expected: unknown, what: string): void {
  const [got, wanted] = [printed(actual), printed(expected)];
  if (got !== wanted) throw new Error(`${what}: expected ${wanted}, got ${got}`);
}

/** Fail unless the condition holds. */
export function assertTrue(condition: boolean, what: string): void {
  if (!condition) throw new Error(`expected that ${what}`);
}

/** Fail unless the promise is rejected with an `RksError` of one of the codes. */
export async function assertRejects(
  promise: Promise<unknown>,
  ...codes: readonly ErrorCode[]
): Promise<RksError> {
  const reason = await rejection(promise);
  if (reason instanceof RksError && codes.includes(reason.code)) return reason;
  throw new Error(`expected a rejection with ${codes.join(" or ")}, got ${String(reason)}`, {
    cause: reason,
  });
}

/** Fail unless the promise is rejected with this very value. */
export async function assertRejectsWith(promise: Promise<unknown>, expected: unknown): Promise<void> {
  const reason = await rejection(promise);
  if (reason !== expected)
    throw new Error(`expected a rejection with ${String(expected)}, got ${String(reason)}`);
}

/** What the promise is rejected with. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  let value: unknown;
  try {
    value = await promise;
  } catch (reason) {
    return reason;
  }
  throw new Error(`expected a rejection, got ${printed(value)}`);
}

function printed(value: unknown): string {
  return (
    JSON.stringify(value, (_, part: unknown) => (part instanceof Uint8Array ? `0x${hex(part)}` : part)) ??
    "undefined"
  );
}
