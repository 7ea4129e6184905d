import { randomUUID } from "node:crypto";

import { RksError, type Secret } from "@rk8s/protocol";

import { assertNonce } from "./nonce.js";
import { randomKey } from "./keyring.js";
import {
  assertUnsealKey,
  type SealConfig,
  shamirConfig,
  type StoredSeal,
  storedSeal,
  toSecretShare,
  UnsealAttempt,
} from "./seal.js";
import { splitKey } from "./shamir.js";

/** What new shares there are to be. */
export interface RekeyInit {
  readonly shares: number;
  readonly threshold: number;
  /** Whether enough of the new shares must be given back before they replace the old ones. */
  readonly requireVerification: boolean;
}

/** How far a rekey is. */
export interface RekeyStatus {
  /** Empty while there is none. */
  readonly nonce: string;
  /** Of the new shares; 0 while there is none. */
  readonly shares: number;
  readonly threshold: number;
  /** Shares of the present key that were given, and how many are needed. */
  readonly progress: number;
  readonly required: number;
  readonly verificationRequired: boolean;
  /** Names the verification; empty before it. */
  readonly verificationNonce: string;
}

/** How far giving the new shares back is; without one under way the nonce is empty. */
export type VerificationStatus = Pick<RekeyStatus, "nonce" | "shares" | "threshold" | "progress">;

/** The new shares, seen this once. */
export interface NewShares {
  readonly nonce: string;
  /** Base64. */
  readonly shares: readonly Secret<string>[];
  /** They count only once they are verified under this nonce; undefined: they count from now on. */
  readonly verificationNonce: string | undefined;
}

/** What a rekey needs of the seal that it replaces. */
export interface RekeyPorts {
  readonly stored: () => StoredSeal;
  /** Seal with another unseal key from now on: one transaction. @throws {RksError} when it was not written. */
  readonly reseal: (stored: StoredSeal, unsealKey: Uint8Array) => Promise<void>;
}

type State =
  | { readonly kind: "idle" }
  | {
      readonly kind: "collecting";
      readonly nonce: string;
      readonly config: SealConfig;
      readonly requireVerification: boolean;
      readonly attempt: UnsealAttempt;
    }
  | {
      readonly kind: "verifying";
      readonly nonce: string;
      readonly next: StoredSeal;
      readonly attempt: UnsealAttempt;
      readonly verificationNonce: string;
    };

/**
 * Replaces the unseal key and its shares. Whoever holds enough of the present shares gets new ones; those present stay
 * good until the new key is written, which with verification is when enough new shares were given back. One rekey at
 * a time. Its methods are called one after another.
 */
export class Rekey {
  readonly #ports: RekeyPorts;
  #state: State = { kind: "idle" };

  constructor(ports: RekeyPorts) {
    this.#ports = ports;
  }

  status(): RekeyStatus {
    const state = this.#state;
    const required = this.#ports.stored().config.threshold;
    if (state.kind === "idle") return { ...IDLE, required };
    const { shares, threshold } = state.kind === "collecting" ? state.config : state.next.config;
    return {
      nonce: state.nonce,
      shares,
      threshold,
      required,
      progress: state.kind === "collecting" ? state.attempt.progress : 0,
      verificationRequired: state.kind === "verifying" || state.requireVerification,
      verificationNonce: state.kind === "verifying" ? state.verificationNonce : "",
    };
  }

  verification(): VerificationStatus {
    const state = this.#state;
    if (state.kind !== "verifying") return { nonce: "", shares: 0, threshold: 0, progress: 0 };
    const { shares, threshold } = state.next.config;
    return { nonce: state.verificationNonce, shares, threshold, progress: state.attempt.progress };
  }

  /** @throws {RksError} INPUT_INVALID while there is one, with a key-file seal, and for impossible numbers of shares. */
  start({ shares, threshold, requireVerification }: RekeyInit): RekeyStatus {
    if (this.#state.kind !== "idle") {
      throw refused("a rekey is in progress already", "Finish it or cancel it.");
    }
    const present = this.#ports.stored().config;
    if (present.type !== "shamir") {
      throw refused("this vault is opened by a key file, which has no shares", "Keep the key file.");
    }
    const config = shamirConfig(shares, threshold);
    const attempt = new UnsealAttempt(present);
    this.#state = { kind: "collecting", nonce: randomUUID(), config, requireVerification, attempt };
    return this.status();
  }

  /**
   * Give one of the present shares, hex or base64; the last that is needed makes the new ones.
   * @throws {RksError} INPUT_INVALID when there is no rekey of this nonce that waits for one; UNSEAL_KEY_INVALID when the
   *   shares are not this vault's, and then they must all be given again; or why nothing could be written.
   */
  async add(share: string, nonce: string): Promise<NewShares | undefined> {
    const state = this.#state;
    if (state.kind !== "collecting") throw noneInProgress("rekey");
    assertNonce(state.nonce, nonce);
    const present = await state.attempt.add(share);
    if (present === undefined) return undefined;
    try {
      assertUnsealKey(this.#ports.stored(), present);
    } finally {
      present.fill(0);
    }
    const { config, requireVerification } = state;
    const unsealKey = randomKey();
    try {
      const next = storedSeal(config, unsealKey);
      const shares = await splitKey(unsealKey, config.shares, config.threshold);
      if (requireVerification) {
        const attempt = new UnsealAttempt(config);
        const verificationNonce = randomUUID();
        this.#state = { kind: "verifying", nonce: state.nonce, next, attempt, verificationNonce };
        return { nonce: state.nonce, shares: shares.map(toSecretShare), verificationNonce };
      }
      await this.#ports.reseal(next, unsealKey);
      this.#state = { kind: "idle" };
      return { nonce: state.nonce, shares: shares.map(toSecretShare), verificationNonce: undefined };
    } finally {
      unsealKey.fill(0);
    }
  }

  /**
   * Give one of the new shares back. True: it was the last that is needed, and the new shares count from now on.
   * @throws {RksError} INPUT_INVALID when there is no verification of this nonce; UNSEAL_KEY_INVALID when these are not
   *   the new shares, and then they must all be given again; or why nothing could be written.
   */
  async verify(share: string, nonce: string): Promise<boolean> {
    const state = this.#state;
    if (state.kind !== "verifying") throw noneInProgress("verification of a rekey");
    assertNonce(state.verificationNonce, nonce);
    const unsealKey = await state.attempt.add(share);
    if (unsealKey === undefined) return false;
    try {
      assertUnsealKey(state.next, unsealKey);
      await this.#ports.reseal(state.next, unsealKey);
    } finally {
      unsealKey.fill(0);
    }
    this.#state = { kind: "idle" };
    return true;
  }

  /** Begin the verification anew, under another nonce. */
  restartVerification(): VerificationStatus {
    const state = this.#state;
    if (state.kind === "verifying") {
      state.attempt.reset();
      this.#state = { ...state, verificationNonce: randomUUID() };
    }
    return this.verification();
  }

  /**
   * Forget everything; the present shares stay good.
   * @throws {RksError} INPUT_INVALID when a nonce is given and is not that of the rekey.
   */
  cancel(nonce = ""): void {
    if (nonce !== "" && this.#state.kind !== "idle") assertNonce(this.#state.nonce, nonce);
    if (this.#state.kind !== "idle") this.#state.attempt.reset();
    this.#state = { kind: "idle" };
  }
}

const IDLE = {
  nonce: "",
  shares: 0,
  threshold: 0,
  progress: 0,
  verificationRequired: false,
  verificationNonce: "",
};

function noneInProgress(what: string): RksError {
  return refused(`no ${what} is in progress`, "Start one, or look how far it is.");
}

function refused(message: string, suggestion: string): RksError {
  return new RksError("INPUT_INVALID", message, { suggestion });
}
