import type { CloseCode, Connection, SocketAddress, Stream } from "@rk8s/protocol";
import type { NodeLink } from "../nodes/node-link.js";
import { closeConnection } from "./close-connection.js";

/** A node's connection as the rest of the control plane uses it: to ask the node, and to end it. */
export class NodeSession implements NodeLink {
  readonly nodeName: string;
  readonly ended: AbortSignal;
  readonly #connection: Connection;

  constructor(nodeName: string, connection: Connection, ended: AbortSignal) {
    this.nodeName = nodeName;
    this.ended = ended;
    this.#connection = connection;
  }

  get remoteAddress(): SocketAddress {
    return this.#connection.remoteAddress;
  }

  /** @throws {RksError} CONNECTION_LOST. */
  openStream(options?: { readonly signal?: AbortSignal | undefined }): Promise<Stream> {
    return this.#connection.openStream(options);
  }

  close(code: CloseCode, message: string): void {
    closeConnection(this.#connection, code, message);
  }
}
