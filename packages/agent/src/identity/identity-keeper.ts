import { randomUUID } from "node:crypto";
import {
  formatJoinToken,
  RksError,
  withDeadline,
  type Clock,
  type JoinToken,
  type Logger,
} from "@rk8s/protocol";
import type { Identity } from "./identity.js";
import { wipeStashed, type IdentityStash, type StashedIdentity, type StashedKey } from "./identity-stash.js";
import type { KeyPair } from "./key-pair.js";

/** What an agent has to keep at one moment of its life. Everything stays the caller's. */
export interface KeptIdentity {
  /** As asked for until the control plane has given one. */
  readonly nodeName: string | undefined;
  readonly trust: StashedIdentity["trust"];
  /** Only while the join is under way. */
  readonly joinToken?: JoinToken | undefined;
  readonly current?: Identity | undefined;
  /** A key whose request is about to leave, or the identity that came of it, not yet used. */
  readonly pending?: { readonly keyPair: KeyPair; readonly csr: Uint8Array } | Identity | undefined;
}

export interface IdentityKeeperInit {
  /** Undefined: nothing outlives the process. */
  readonly stash: IdentityStash | undefined;
  readonly rksAddress: string;
  /** What the stash held when the agent began; default: a new one. */
  readonly instanceId?: string | undefined;
}

/** A stash is memory, and takes microseconds. One that hangs must not cost the node its certificate. */
const SAVE_TIMEOUT_MS = 500;

/**
 * Keeps an agent's identity in its stash, if it has one. A stash that fails or hangs is reported and costs nothing more:
 * the agent goes on, as one that a crash would end. Copies of keys made for the stash are overwritten once it has them.
 */
export class IdentityKeeper {
  /** Random; the same for every process that uses the stash. */
  readonly instanceId: string;
  readonly #stash: IdentityStash | undefined;
  readonly #rksAddress: string;
  readonly #logger: Logger;
  readonly #clock: Clock;
  /** What is to be kept next; the stash is given one state at a time. */
  #wanted: KeptIdentity | undefined;
  #saving: Promise<void> | undefined;
  /** Something is in the stash's hands for too long; nobody waits for it any more. */
  #isOverdue = false;

  constructor(init: IdentityKeeperInit, ports: { readonly logger: Logger; readonly clock: Clock }) {
    this.instanceId = init.instanceId ?? randomUUID();
    this.#stash = init.stash;
    this.#rksAddress = init.rksAddress;
    this.#logger = ports.logger;
    this.#clock = ports.clock;
  }

  /**
   * Replace what is kept. Resolves when it outlives this process, or when it is clear that it will not, after half a second
   * at most. A stash that hung gets the newest state when it goes on. Never rejects.
   */
  async keep(state: KeptIdentity): Promise<void> {
    const stash = this.#stash;
    if (stash === undefined) return;
    this.#wanted = state;
    this.#saving ??= this.#saveWanted(stash);
    if (this.#isOverdue) return;
    try {
      await withDeadline(async () => this.#saving, {
        clock: this.#clock,
        timeoutMs: SAVE_TIMEOUT_MS,
        attempt: "the identity was not saved",
      });
    } catch (reason) {
      this.#isOverdue = true;
      this.#warn(reason);
    }
  }

  /** Never rejects. */
  async #saveWanted(stash: IdentityStash): Promise<void> {
    for (let state = this.#take(); state !== undefined; state = this.#take()) await this.#save(state, stash);
    this.#saving = undefined;
    this.#isOverdue = false;
  }

  #take(): KeptIdentity | undefined {
    const state = this.#wanted;
    this.#wanted = undefined;
    return state;
  }

  async #save(state: KeptIdentity, stash: IdentityStash): Promise<void> {
    const { nodeName, trust, joinToken, current, pending } = state;
    let stashed: StashedIdentity | undefined;
    try {
      stashed = {
        instanceId: this.instanceId,
        rksAddress: this.#rksAddress,
        nodeName,
        trust,
        joinToken: joinToken && Buffer.from(formatJoinToken(joinToken), "latin1"),
        current: current?.stashedKey(),
        pending: pending && stashedKey(pending),
      };
      await stash.save(stashed);
    } catch (reason) {
      this.#warn(reason);
    } finally {
      if (stashed !== undefined) wipeStashed(stashed);
    }
  }

  #warn(reason: unknown): void {
    this.#logger.warn("Identity is not kept outside this process: it would not survive a crash", {
      reason: RksError.from(reason).message,
    });
  }

  /** Keep nothing any more. Never rejects. */
  async forget(): Promise<void> {
    this.#wanted = undefined;
    await this.#stash?.clear().catch(() => undefined);
  }
}

function stashedKey(pending: NonNullable<KeptIdentity["pending"]>): StashedKey | undefined {
  if (!("keyPair" in pending)) return pending.stashedKey();
  return { pkcs8: pending.keyPair.exportPrivateKey(), csr: pending.csr };
}
