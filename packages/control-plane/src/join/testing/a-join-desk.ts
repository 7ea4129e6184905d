import { encodeMessage, type Message, RksError, silentLogger } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { nodeRecords } from "../../nodes/node-record.js";
import type { ClusterCa } from "../../pki/cluster-ca.js";
import { Enrolment } from "../enrolment.js";
import type { SignRequest } from "../join-plan.js";
import type { JoinCheck } from "../join-check.js";
import { type JoinTokenRequest, JoinTokenStore } from "../join-token-store.js";
import { aClusterCa } from "./a-cluster-ca.js";
import { aRequest, type RequestOptions } from "./a-request.js";
import { PolicyStore } from "../../vault/policy/policy-store.js";
import { FaultyStorage } from "./faulty-storage.js";
import { MemoryAudit } from "./memory-audit.js";

/** Join tokens and enrolment over a store in memory, with levers for what goes wrong. */
export class JoinDesk {
  readonly clock: FakeClock;
  readonly storage: FaultyStorage;
  readonly audit = new MemoryAudit();
  readonly ca: ClusterCa;
  readonly tokens: JoinTokenStore;
  readonly replaced: string[] = [];
  enrolment: Enrolment;
  readonly #joinChecks: readonly JoinCheck[];

  constructor(parts: {
    readonly clock: FakeClock;
    readonly storage: FaultyStorage;
    readonly ca: ClusterCa;
    readonly joinChecks: readonly JoinCheck[];
  }) {
    this.clock = parts.clock;
    this.storage = parts.storage;
    this.ca = parts.ca;
    this.#joinChecks = parts.joinChecks;
    this.tokens = new JoinTokenStore({
      barrier: this.storage,
      audit: this.audit,
      clock: this.clock,
      policies: new PolicyStore(this.storage),
      rootSpkiSha256: () => this.ca.rootSpkiSha256,
    });
    this.enrolment = this.#open();
  }

  /** Make a token; its text. */
  async token(request: JoinTokenRequest = {}): Promise<string> {
    const { token } = await this.tokens.create(request, { actor: "test" });
    return token.reveal();
  }

  /** Ask for a certificate. */
  async join(options: RequestOptions): Promise<Message<"Certificate">> {
    return this.enrolment.sign(aRequest(options));
  }

  /** The code with which a request is refused, or "joined". */
  async outcome(request: SignRequest | Promise<unknown>): Promise<string> {
    try {
      await (request instanceof Promise ? request : this.enrolment.sign(request));
      return "joined";
    } catch (error) {
      return error instanceof RksError ? error.code : String(error);
    }
  }

  /** Forget everything that is only in memory, as a restart does. */
  restart(): void {
    this.enrolment = this.#open();
  }

  async nodeNames(): Promise<string[]> {
    const names: string[] = [];
    for await (const { record } of nodeRecords(this.storage).list()) names.push(record.name);
    return names;
  }

  #open(): Enrolment {
    return new Enrolment(
      { nodeTtlSeconds: 3600 },
      {
        barrier: this.storage,
        issuer: this.ca,
        audit: this.audit,
        clock: this.clock,
        logger: silentLogger,
        joinChecks: this.#joinChecks,
        onReplaced: (name) => this.replaced.push(name),
      },
    );
  }
}

/** Open a desk with a cluster CA of its own. */
export async function aJoinDesk(
  options: { readonly joinChecks?: readonly JoinCheck[] } = {},
): Promise<JoinDesk> {
  const clock = new FakeClock();
  const storage = new FaultyStorage();
  const ca = await aClusterCa(storage, clock);
  return new JoinDesk({ clock, storage, ca, joinChecks: options.joinChecks ?? [] });
}

/** The bytes of an answer on the wire. */
export function wireBytes(message: Message<"Certificate">): string {
  return Buffer.from(encodeMessage(message)).toString("hex");
}
