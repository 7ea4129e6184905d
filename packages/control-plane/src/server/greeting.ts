import { encodeMessage, LIMITS, type Message, negotiateVersion, RksError } from "@rk8s/protocol";

/** CertificateSign that one connection may send, whatever becomes of them: two more than a retry needs. */
const MAX_SIGNS = 4;

/** What was said at the beginning of a connection, and what its Welcome is still good for. */
export class Greetings {
  #last: { readonly hello: Uint8Array; readonly welcome: Uint8Array; readonly atMs: number } | undefined;
  #signs = 0;
  #isGreeted = false;

  get isGreeted(): boolean {
    return this.#isGreeted;
  }

  /**
   * Answer a Hello. Only the newest Welcome's nonce counts.
   * @throws {RksError} VERSION_UNSUPPORTED.
   */
  welcome(
    hello: Message<"Hello">,
    helloBody: Uint8Array,
    now: {
      readonly nonce: Uint8Array;
      readonly timeMs: number;
      readonly monotonicMs: number;
      readonly maxMessageBytes: number;
    },
  ): Message<"Welcome"> {
    const welcome: Message<"Welcome"> = {
      type: "Welcome",
      version: negotiateVersion(hello.versions),
      features: [],
      nonce: now.nonce,
      serverTime: new Date(now.timeMs).toISOString(),
      limits: { maxMessageBytes: now.maxMessageBytes },
    };
    this.#last = { hello: helloBody, welcome: encodeMessage(welcome), atMs: now.monotonicMs };
    this.#isGreeted = true;
    return welcome;
  }

  /** The body of the newest Welcome, for proofs that are bound to the connection alone. Undefined before Hello. */
  get welcomeBody(): Uint8Array | undefined {
    return this.#last?.welcome;
  }

  /** The peer's proof was bad. Nobody honest makes one: for another try it has to connect again. */
  forfeit(): void {
    this.#signs = MAX_SIGNS;
  }

  /** The body of the newest Hello, likewise. */
  get helloBody(): Uint8Array | undefined {
    return this.#last?.hello;
  }

  /**
   * Spend the Welcome's nonce: it serves one CertificateSign within ten seconds.
   * @throws {RksError} NONCE_EXPIRED, BUSY after too many on this connection or after a bad proof.
   */
  spend(monotonicMs: number): { readonly hello: Uint8Array; readonly welcome: Uint8Array } {
    this.#signs += 1;
    if (this.#signs > MAX_SIGNS) {
      throw new RksError("BUSY", "this connection may ask for no certificate any more", {
        suggestion: "Connect again.",
      });
    }
    const last = this.#last;
    this.#last = undefined;
    if (last === undefined || monotonicMs - last.atMs > LIMITS.nonceLifetimeMs) {
      throw new RksError("NONCE_EXPIRED", "the nonce of Welcome is spent or too old", {
        suggestion: "Say Hello again and sign the new Welcome.",
      });
    }
    return last;
  }
}
