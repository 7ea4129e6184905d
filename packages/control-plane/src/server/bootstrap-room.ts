import type { Connection } from "@rk8s/protocol";
import { closeConnection } from "./close-connection.js";

/** Connections without a proven identity at a time. A join takes far less than a second of one. */
const MAX_CONNECTIONS = 512;

/**
 * The connections that have proven nothing yet. When there are too many, the oldest one makes room: whoever
 * only occupies places loses them first, and who joins is done long before.
 */
export class BootstrapRoom {
  readonly #max: number;
  /** In the order in which they came. */
  readonly #connections = new Set<Connection>();

  constructor(init: { readonly maxConnections?: number } = {}) {
    this.#max = init.maxConnections ?? MAX_CONNECTIONS;
  }

  /** How many there are. */
  get size(): number {
    return this.#connections.size;
  }

  /** Take a connection in until it ends. */
  enter(connection: Connection, ended: AbortSignal): void {
    const [oldest] = this.#connections;
    if (this.#connections.size >= this.#max && oldest !== undefined) {
      this.#connections.delete(oldest);
      closeConnection(oldest, "BUSY", "too many connections without a certificate");
    }
    this.#connections.add(connection);
    ended.addEventListener("abort", () => this.#connections.delete(connection), { once: true });
    if (ended.aborted) this.#connections.delete(connection);
  }
}
