import { RksError } from "@rk8s/protocol";
import type { IdentityStash, StashedIdentity } from "../identity/identity-stash.js";
import { MAX_PAYLOAD_BYTES, PipePair, type PipeDescriptors } from "./pipe-pair.js";
import { decodeState, encodeState } from "./state-codec.js";

/** A stash in two pipes that the supervisor holds open: kernel memory, which is no file and is never swapped out. */
export function createPipeStash(descriptors: PipeDescriptors): IdentityStash {
  const pipes = new PipePair(descriptors);
  return {
    load: () => settle(() => read(pipes)),
    save: (state) => settle(() => write(pipes, state)),
    clear: () => settle(() => pipes.clear()),
  };
}

function read(pipes: PipePair): StashedIdentity | undefined {
  const payload = pipes.read();
  try {
    return payload && decodeState(payload);
  } finally {
    payload?.fill(0);
  }
}

function write(pipes: PipePair, state: StashedIdentity): void {
  const payload = encodeState(state);
  try {
    if (payload.length > MAX_PAYLOAD_BYTES) {
      pipes.clear();
      throw new RksError(
        "MESSAGE_TOO_LARGE",
        `an identity of ${payload.length} bytes is above the ${MAX_PAYLOAD_BYTES} that are kept`,
      );
    }
    pipes.write(payload);
  } finally {
    payload.fill(0);
  }
}

/** Pipes are read and written without waiting, which takes microseconds. */
async function settle<T>(work: () => T): Promise<T> {
  await Promise.resolve();
  try {
    return work();
  } catch (cause) {
    if (cause instanceof RksError) throw cause;
    throw new RksError("UNAVAILABLE", `the supervisor's pipes fail: ${(cause as Error).message}`, { cause });
  }
}
