import { RksError } from "@rk8s/protocol";

import { assertWellFormed } from "../key.js";

/** A transaction may name it 254 times, and its size is bounded. */
const MAX_PREFIX_BYTES = 64;

/**
 * Check that keys of a store in etcd may begin with the text: 1 to 64 bytes, the last of them no slash.
 * @throws {RksError} CONFIG_INVALID; INPUT_INVALID when it is not well-formed Unicode.
 */
export function assertStorePrefix(prefix: string): void {
  assertWellFormed(prefix);
  const bytes = Buffer.byteLength(prefix);
  if (bytes > 0 && bytes <= MAX_PREFIX_BYTES && !prefix.endsWith("/")) return;
  throw new RksError(
    "CONFIG_INVALID",
    `the store's prefix "${prefix.slice(0, 40)}" is not 1 to ${MAX_PREFIX_BYTES} bytes without a slash at the end`,
    { suggestion: "Use another one, for example rk8s/blue." },
  );
}
