import type { IdentityStash, StashedIdentity, StashedKey } from "../identity/identity-stash.js";

/** A stash in this process's own memory, for tests: what is saved outlives the agent, as with a supervisor. */
export class MemoryStash implements IdentityStash {
  /** Every state that was saved, in order, undefined for `clear`; copies. */
  readonly history: (StashedIdentity | undefined)[] = [];
  /** What the next `save` fails with. */
  failure: Error | undefined;

  load(): Promise<StashedIdentity | undefined> {
    const state = this.history.at(-1);
    return Promise.resolve(state === undefined ? undefined : copyOf(state));
  }

  save(state: StashedIdentity): Promise<void> {
    const { failure } = this;
    this.failure = undefined;
    this.history.push(failure === undefined ? copyOf(state) : undefined);
    return failure === undefined ? Promise.resolve() : Promise.reject(failure);
  }

  clear(): Promise<void> {
    this.history.push(undefined);
    return Promise.resolve();
  }
}

function copyOf(state: StashedIdentity): StashedIdentity {
  return {
    ...state,
    trust: { ...state.trust, roots: state.trust.roots.map((root) => bytesOf(root)) },
    joinToken: state.joinToken && bytesOf(state.joinToken),
    current: state.current && copyOfKey(state.current),
    pending: state.pending && copyOfKey(state.pending),
  };
}

function copyOfKey({ pkcs8, csr, answer }: StashedKey): StashedKey {
  return { pkcs8: bytesOf(pkcs8), csr: bytesOf(csr), answer: answer && bytesOf(answer) };
}

/** A copy; `slice` of a Buffer is none. */
function bytesOf(bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(bytes);
}
