import type { Clock, Connection } from "@rk8s/protocol";
import type { Authority } from "./authority.js";
import type { CallerKind, Conversation } from "./exchange.js";
import { Greetings } from "./greeting.js";
import { NodeSession } from "./node-session.js";
import type { PeerIdentity } from "./peer-identity.js";

/** A connection as the handlers see it. Its kind rises with what the peer has done. */
export class ConnectionConversation implements Conversation {
  readonly connection: Connection;
  readonly greetings = new Greetings();
  #identity: PeerIdentity = { kind: "nobody" };
  #session: NodeSession | undefined;
  #authority: Authority | undefined;
  #isRegistered = false;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  get identity(): PeerIdentity {
    return this.#identity;
  }

  get session(): NodeSession | undefined {
    return this.#session;
  }

  get authority(): Authority | undefined {
    return this.#authority;
  }

  get isGreeted(): boolean {
    return this.greetings.isGreeted;
  }

  get kind(): CallerKind {
    if (this.#identity.kind === "operator") return "operator";
    if (this.#identity.kind === "node") return this.#isRegistered ? "registered node" : "node";
    return this.isGreeted ? "bootstrapping" : "nobody";
  }

  get actor(): string {
    if (this.#identity.kind === "operator") return `operator ${this.#identity.tokenId}`;
    if (this.#identity.kind === "node") return `node ${this.#identity.name}`;
    return "a peer without a certificate";
  }

  /** Say who the peer is, as its certificate has it. */
  identify(identity: PeerIdentity, ended: AbortSignal, ports: { readonly clock: Clock }): void {
    this.#identity = identity;
    if (identity.kind === "node") {
      this.#session = new NodeSession(identity, this.connection, ended, ports);
    }
  }

  /** What the operator at the other end may. */
  authorize(authority: Authority): void {
    this.#authority = authority;
  }

  registered(): void {
    this.#isRegistered = true;
  }
}
