import type { Connection } from "@rk8s/protocol";
import { closeConnection } from "./close-connection.js";

/** The live connections of operators by the token that their certificates came from. */
export class OperatorConnections {
  readonly #byToken = new Map<string, Set<Connection>>();

  /** Keep track of a connection until it ends. */
  add(tokenId: string, connection: Connection, ended: AbortSignal): void {
    const connections = this.#byToken.get(tokenId) ?? new Set();
    this.#byToken.set(tokenId, connections);
    connections.add(connection);
    const forget = (): void => {
      connections.delete(connection);
      if (connections.size === 0 && this.#byToken.get(tokenId) === connections) this.#byToken.delete(tokenId);
    };
    ended.addEventListener("abort", forget, { once: true });
    if (ended.aborted) forget();
  }

  /** The tokens that they came from. */
  tokenIds(): readonly string[] {
    return [...this.#byToken.keys()];
  }

  /** How many there are. */
  get size(): number {
    return [...this.#byToken.values()].reduce((sum, { size }) => sum + size, 0);
  }

  /** End every connection of the token, because it was revoked. */
  revoke(tokenId: string): void {
    for (const connection of this.#byToken.get(tokenId) ?? []) {
      closeConnection(connection, "JOIN_TOKEN_REVOKED", `join token "${tokenId}" was revoked`);
    }
  }
}
