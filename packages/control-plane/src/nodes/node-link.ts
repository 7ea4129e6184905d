import type { CloseCode, SocketAddress, StreamOpener } from "@rk8s/protocol";

/** A node's connection, proven by its certificate. Whoever holds one can ask the node over it. */
export interface NodeLink extends StreamOpener {
  readonly nodeName: string;
  readonly remoteAddress: SocketAddress;
  /** Aborted when the connection has ended. */
  readonly ended: AbortSignal;
  /** End it; the node is told why. Never fails, may be called twice. */
  close(code: CloseCode, message: string): void;
}

/**
 * Connections of one node that have not registered count too: one in use, one that takes over, and one being
 * identified.
 */
const MAX_LINKS = 3;
const TAKEN_OVER = "a newer connection of this node took over";

/** The live connections of nodes by name, and which one of each is in use. */
export class NodeLinks {
  /** In the order in which they came; the last registered one is in use. */
  readonly #links = new Map<string, { readonly all: NodeLink[]; current: NodeLink | undefined }>();

  /** Keep track of a connection until it ends. The oldest one makes room when a node has too many. */
  add(link: NodeLink): void {
    const links = this.#links.get(link.nodeName) ?? { all: [], current: undefined };
    this.#links.set(link.nodeName, links);
    links.all.push(link);
    const oldest = links.all.find((other) => other !== links.current && other !== link);
    if (links.all.length > MAX_LINKS) oldest?.close("CONFLICT", TAKEN_OVER);
    link.ended.addEventListener("abort", () => this.#remove(link), { once: true });
    if (link.ended.aborted) this.#remove(link);
  }

  /** From now on this one is in use; the one before is closed: a node has one connection. */
  use(link: NodeLink): void {
    const links = this.#links.get(link.nodeName);
    if (links?.all.includes(link) !== true) return;
    const before = links.current;
    links.current = link;
    if (before !== link) before?.close("CONFLICT", TAKEN_OVER);
  }

  /** The connection over which the node is asked. */
  current(nodeName: string): NodeLink | undefined {
    return this.#links.get(nodeName)?.current;
  }

  /** End every connection of the node. */
  close(nodeName: string, code: CloseCode, message: string): void {
    for (const link of this.#links.get(nodeName)?.all.slice() ?? []) link.close(code, message);
  }

  #remove(link: NodeLink): void {
    const links = this.#links.get(link.nodeName);
    if (links === undefined) return;
    const at = links.all.indexOf(link);
    if (at >= 0) links.all.splice(at, 1);
    if (links.current === link) links.current = undefined;
    if (links.all.length === 0) this.#links.delete(link.nodeName);
  }
}
