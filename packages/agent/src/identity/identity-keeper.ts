import { randomUUID } from "node:crypto";
import { formatJoinToken, RksError, type JoinToken, type Logger } from "@rk8s/protocol";
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

/**
 * Keeps an agent's identity in its stash, if it has one. A stash that fails is reported and costs nothing more: the
 * agent goes on, as one that a crash would end. Copies of keys made for the stash are overwritten at once.
 */
export class IdentityKeeper {
  /** Random; the same for every process that uses the stash. */
  readonly instanceId: string;
  readonly #stash: IdentityStash | undefined;
  readonly #rksAddress: string;
  readonly #logger: Logger;

  constructor(init: IdentityKeeperInit, ports: { readonly logger: Logger }) {
    this.instanceId = init.instanceId ?? randomUUID();
    this.#stash = init.stash;
    this.#rksAddress = init.rksAddress;
    this.#logger = ports.logger;
  }

  /** Replace what is kept. Resolves when it outlives this process, or when it is clear that it will not. Never rejects. */
  async keep(state: KeptIdentity): Promise<void> {
    if (this.#stash === undefined) return;
    const { nodeName, trust, joinToken, current, pending } = state;
    const stashed: StashedIdentity = {
      instanceId: this.instanceId,
      rksAddress: this.#rksAddress,
      nodeName,
      trust,
      joinToken: joinToken && Buffer.from(formatJoinToken(joinToken), "latin1"),
      current: current?.stashedKey(),
      pending: pending && stashedKey(pending),
    };
    try {
      await this.#stash.save(stashed);
    } catch (reason) {
      this.#logger.warn("Identity is not kept outside this process: it would not survive a crash", {
        reason: RksError.from(reason).message,
      });
    } finally {
      wipeStashed(stashed);
    }
  }

  /** Keep nothing any more. Never rejects. */
  async forget(): Promise<void> {
    await this.#stash?.clear().catch(() => undefined);
  }
}

function stashedKey(pending: NonNullable<KeptIdentity["pending"]>): StashedKey | undefined {
  if (!("keyPair" in pending)) return pending.stashedKey();
  return { pkcs8: pending.keyPair.exportPrivateKey(), csr: pending.csr };
}
