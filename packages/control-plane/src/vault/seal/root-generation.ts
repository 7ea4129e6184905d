import { randomInt, randomUUID } from "node:crypto";

import { RksError, Secret } from "@rk8s/protocol";

import { assertNonce } from "./nonce.js";
import { assertUnsealKey, type StoredSeal, UnsealAttempt } from "./seal.js";

/** A one-time password is as long as a token: `hvs.` and 32 bytes in base64. */
export const OTP_CHARACTERS = 47;
const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** How far making a root token is. */
export interface RootGenerationStatus {
  /** Empty while there is none. */
  readonly nonce: string;
  readonly progress: number;
  readonly required: number;
}

export interface RootGenerationPorts {
  readonly stored: () => StoredSeal;
  /** Make a root token. */
  readonly makeToken: () => Promise<string>;
}

interface Attempt {
  readonly nonce: string;
  readonly otp: Uint8Array;
  readonly shares: UnsealAttempt;
}

/**
 * Makes a root token for those who hold enough unseal shares together. It leaves the vault masked with a one-time
 * password that only whoever began has, so that neither the last share's holder nor a log can use it. One at a time.
 * Its methods are called one after another.
 */
export class RootGeneration {
  readonly #ports: RootGenerationPorts;
  #attempt: Attempt | undefined;

  constructor(ports: RootGenerationPorts) {
    this.#ports = ports;
  }

  status(): RootGenerationStatus {
    const required = this.#ports.stored().config.threshold;
    return {
      nonce: this.#attempt?.nonce ?? "",
      progress: this.#attempt?.shares.progress ?? 0,
      required,
    };
  }

  /**
   * Begin; gives the one-time password, which is seen this once.
   * @throws {RksError} INPUT_INVALID while there is one, and for a password of another length.
   */
  start(otp?: string): Secret<string> {
    if (this.#attempt !== undefined) {
      throw new RksError("INPUT_INVALID", "making a root token is in progress already", {
        suggestion: "Finish it or cancel it.",
      });
    }
    const password = otp ?? newPassword();
    if (password.length !== OTP_CHARACTERS || !/^[\x21-\x7e]+$/.test(password)) {
      throw new RksError("INPUT_INVALID", `a one-time password has ${OTP_CHARACTERS} printable characters`, {
        suggestion: "Leave it out: the vault makes one.",
      });
    }
    const shares = new UnsealAttempt(this.#ports.stored().config);
    this.#attempt = { nonce: randomUUID(), otp: Uint8Array.from(Buffer.from(password)), shares };
    return new Secret(password);
  }

  /**
   * Give one unseal share, hex or base64, or the key of a key file; the last that is needed gives the masked token.
   * @throws {RksError} INPUT_INVALID when nothing of this nonce is in progress; UNSEAL_KEY_INVALID when the shares are
   *   not this vault's, and then they must all be given again.
   */
  async add(share: string, nonce: string): Promise<string | undefined> {
    const attempt = this.#attempt;
    if (attempt === undefined) {
      throw new RksError("INPUT_INVALID", "no making of a root token is in progress", {
        suggestion: "Start one.",
      });
    }
    assertNonce(attempt.nonce, nonce);
    const unsealKey = await attempt.shares.add(share);
    if (unsealKey === undefined) return undefined;
    try {
      assertUnsealKey(this.#ports.stored(), unsealKey);
    } finally {
      unsealKey.fill(0);
    }
    const token = Buffer.from(await this.#ports.makeToken());
    const encoded = mask(token, attempt.otp);
    token.fill(0);
    this.cancel();
    return encoded;
  }

  /** Forget what was begun. */
  cancel(): void {
    this.#attempt?.otp.fill(0);
    this.#attempt?.shares.reset();
    this.#attempt = undefined;
  }
}

/**
 * The token that was masked with a one-time password.
 * @throws {RksError} INPUT_INVALID when they do not belong together.
 */
export function decodeRootToken(encoded: string, otp: string): Secret<string> {
  const masked = Buffer.from(encoded, "base64");
  if (masked.byteLength === 0 || masked.byteLength !== Buffer.byteLength(otp)) {
    throw new RksError("INPUT_INVALID", "the encoded token and the one-time password differ in length", {
      suggestion: "Give both as the vault answered with them.",
    });
  }
  return new Secret(xor(masked, Buffer.from(otp)).toString());
}

function mask(token: Uint8Array, otp: Uint8Array): string {
  if (token.byteLength !== otp.byteLength) throw new TypeError("a token is not as long as a password");
  return xor(token, otp).toString("base64").replace(/=+$/, "");
}

function xor(a: Uint8Array, b: Uint8Array): Buffer {
  return Buffer.from(a.map((byte, index) => byte ^ (b[index] ?? 0)));
}

function newPassword(): string {
  return Array.from({ length: OTP_CHARACTERS }, () => ALPHABET[randomInt(ALPHABET.length)]).join("");
}
