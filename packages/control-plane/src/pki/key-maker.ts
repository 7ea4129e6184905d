import { RksError } from "@rk8s/protocol";
import { createFastKeyPair, createRsaKeyPair, type KeyPair, type KeySpec } from "./key-pair.js";

/** Of the four threads that Node has for such work; files need the others. */
const MAX_RUNNING = 2;
/** RSA-4096 takes about a second of a thread: whoever is behind these would wait for minutes. */
const MAX_WAITING = 128;

/** Makes key pairs: EC and Ed25519 at once, RSA on other threads, a bounded number at a time. One for all mounts. */
export class KeyMaker {
  readonly #createRsa: (bits: number) => Promise<KeyPair>;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  /** @param createRsa makes an RSA key pair; tests give their own. */
  constructor(createRsa: (bits: number) => Promise<KeyPair> = createRsaKeyPair) {
    this.#createRsa = createRsa;
  }

  /** @throws {RksError} BUSY when too many RSA keys wait to be made. */
  async create(spec: KeySpec): Promise<KeyPair> {
    if (spec.type !== "rsa") return createFastKeyPair(spec);
    if (this.#running >= MAX_RUNNING) {
      if (this.#waiting.length >= MAX_WAITING) {
        throw new RksError("BUSY", `${MAX_WAITING} RSA keys wait to be made already`, {
          suggestion: "Try again later, or use key_type=ec, which takes no time.",
        });
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else {
      this.#running += 1;
    }
    try {
      return await this.#createRsa(spec.bits);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }
}
