import type { createPublicKey, JsonWebKey, verify } from "node:crypto";
import { type MessagePort, Worker } from "node:worker_threads";
import { RksError } from "@rk8s/protocol";

/** A signature and the key that is said to have made it. */
export interface SignatureProof {
  /** As `crypto.verify` names it; null for keys that hash by themselves. */
  readonly hash: string | null;
  /** As `crypto.createPublicKey` takes it. */
  readonly key:
    | { readonly format: "jwk"; readonly key: JsonWebKey }
    | { readonly format: "der"; readonly type: "spki"; readonly key: Uint8Array };
  /** For RSA keys, when it is not PKCS#1 v1.5. */
  readonly pss: { readonly padding: number; readonly saltLength: number } | undefined;
  readonly tbs: Uint8Array;
  readonly signature: Uint8Array;
}

/** `no key`: the key is none, a point that is not on its curve for example. What cannot be verified differs. */
export type ProofOutcome = "fits" | "differs" | "no key";

/** Each takes a part of a millisecond: whoever is behind these would wait for seconds. */
const MAX_WAITING = 4096;
/** Proofs that share a message, either way: few, so that neither thread waits for a long row of the other. */
const GROUP = 4;

interface Waiting {
  readonly resolve: (outcome: ProofOutcome) => void;
  readonly reject: (error: RksError) => void;
}

/**
 * Verifies signatures on a thread of its own, the import of the key included: on Node's thread pool only the verification itself
 * would be, and the import takes the event loop as long. The thread starts with the first proof and does not keep the process
 * alive; one that ends fails the proofs that wait for it, and the next proof starts another.
 */
export class ProofThread implements AsyncDisposable {
  #worker: Worker | undefined;
  /** In the order in which they were asked for, which is that of the answers. */
  #waiting: Waiting[] = [];
  #unsent: SignatureProof[] = [];

  /** Judge a signature. @throws {RksError} BUSY when too many wait; INTERNAL when the thread ended. */
  verify(proof: SignatureProof): Promise<ProofOutcome> {
    if (this.#waiting.length >= MAX_WAITING) {
      const suggestion = "Try again.";
      return Promise.reject(
        new RksError("BUSY", `${MAX_WAITING} signatures wait to be verified`, { suggestion }),
      );
    }
    return new Promise((resolve, reject) => {
      const thread = this.#thread();
      if (this.#waiting.push({ resolve, reject }) === 1) thread.ref();
      // Bytes of their own: the other thread gets a copy of all that theirs are a part of.
      const { tbs, signature } = proof;
      this.#unsent.push({ ...proof, tbs: Uint8Array.from(tbs), signature: Uint8Array.from(signature) });
      if (this.#unsent.length >= GROUP) this.#send();
      else if (this.#unsent.length === 1) setImmediate(() => this.#send());
    });
  }

  /** End the thread; what waits fails. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker?.terminate();
  }

  #send(): void {
    if (this.#unsent.length === 0) return;
    this.#worker?.postMessage(this.#unsent);
    this.#unsent = [];
  }

  #thread(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const worker = new Worker(SOURCE, { eval: true });
    this.#worker = worker;
    let cause: unknown;
    worker.on("message", (outcomes: readonly ProofOutcome[]) => this.#settle(worker, outcomes));
    worker.on("error", (error) => (cause = error));
    worker.on("exit", () => this.#fail(cause));
    return worker;
  }

  #settle(worker: Worker, outcomes: readonly ProofOutcome[]): void {
    for (const [index, { resolve }] of this.#waiting.splice(0, outcomes.length).entries()) {
      resolve(outcomes[index] ?? "differs");
    }
    if (this.#waiting.length === 0) worker.unref();
  }

  #fail(cause: unknown): void {
    this.#worker = undefined;
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#unsent = [];
    const error = RksError.from(new Error("the thread that verifies signatures ended", { cause }));
    for (const { reject } of waiting) reject(error);
  }
}

/** What runs on the thread. It gets there as text, so it can use nothing but what it is given. */
function verifyProofs(
  crypto: { readonly createPublicKey: typeof createPublicKey; readonly verify: typeof verify },
  port: MessagePort,
): void {
  const judge = ({ hash, key, pss, tbs, signature }: SignatureProof): ProofOutcome => {
    let imported;
    try {
      imported = crypto.createPublicKey(key.format === "jwk" ? key : { ...key, key: Buffer.from(key.key) });
    } catch {
      return "no key";
    }
    try {
      return crypto.verify(hash, tbs, { key: imported, ...pss }, signature) ? "fits" : "differs";
    } catch {
      return "differs";
    }
  };
  port.on("message", (proofs: readonly SignatureProof[]) => port.postMessage(proofs.map(judge)));
}

/** Text instead of a file: it runs from the sources, where Node could read no file of them, as it does when built. */
const SOURCE = `(${String(verifyProofs)})(require("node:crypto"), require("node:worker_threads").parentPort);`;
