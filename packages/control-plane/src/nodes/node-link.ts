import type { CloseCode, SocketAddress, StreamOpener } from "@rk8s/protocol";
import type { NodeCertificate } from "./node-record.js";

/** A node's connection, proven by its certificate. Whoever holds one can ask the node over it. */
export interface NodeLink extends StreamOpener {
  readonly nodeName: string;
  readonly remoteAddress: SocketAddress;
  /** What it presented; left out where nobody looks whether that still counts. */
  readonly certificate?: NodeCertificate;
  /** End of the certificate that it presented, milliseconds. */
  readonly certificateNotAfter: number;
  /** Which of the node's certificates it presented, counted; greater is newer. */
  readonly generation: number;
  /** Aborted when the connection has ended. */
  readonly ended: AbortSignal;
  /** Another connection took over: end this one when its streams had time to finish. */
  drain(message: string): void;
  /** End it; the node is told why. Never fails, may be called twice. */
  close(code: CloseCode, message: string): void;
}

/** Proven connections of one node: one in use, one that takes over, and one more. */
const MAX_LINKS = 3;
const TAKEN_OVER = "a newer connection of this node took over";

interface LinksOfNode {
  readonly all: NodeLink[];
  /** Those whose certificate is the current one, in the order in which they were proven. */
  proven: readonly NodeLink[];
  /** The one that registered last. */
  current: NodeLink | undefined;
  /** Who registered it, as far as it said. */
  instanceId: string | undefined;
}

/** The live connections of nodes by name, and which one of each is in use. */
export class NodeLinks {
  readonly #links = new Map<string, LinksOfNode>();

  /** How many connections there are. */
  get size(): number {
    return [...this.#links.values()].reduce((sum, { all }) => sum + all.length, 0);
  }

  /** The first end of a certificate among the connections in use, milliseconds; undefined without any. */
  firstCertificateNotAfter(): number | undefined {
    let first: number | undefined;
    for (const { certificateNotAfter } of this.inUse())
      first = Math.min(first ?? Infinity, certificateNotAfter);
    return first;
  }

  /** The connections in use, one of each node. */
  *inUse(): Generator<NodeLink> {
    for (const { current } of this.#links.values()) if (current !== undefined) yield current;
  }

  /** Keep track of a connection until it ends, so that whoever ends the node's connections finds it. */
  add(link: NodeLink): void {
    const links = this.#links.get(link.nodeName) ?? {
      all: [],
      proven: [],
      current: undefined,
      instanceId: undefined,
    };
    this.#links.set(link.nodeName, links);
    links.all.push(link);
    link.ended.addEventListener("abort", () => this.#remove(link), { once: true });
    if (link.ended.aborted) this.#remove(link);
  }

  /**
   * The connection's certificate is the node's current one. The oldest such connection makes room when a node has too
   * many; others, with a certificate that was replaced for example, push nobody out.
   */
  admit(link: NodeLink): void {
    const links = this.#links.get(link.nodeName);
    if (links?.all.includes(link) !== true) return;
    links.proven = [...links.proven, link];
    const oldest = links.proven.find((other) => other !== links.current && other !== link);
    if (links.proven.length > MAX_LINKS) oldest?.close("CONFLICT", TAKEN_OVER);
  }

  /** Whether the connection is still one of its node's: not ended, and not told to end. */
  has(link: NodeLink): boolean {
    return this.#links.get(link.nodeName)?.all.includes(link) === true;
  }

  /**
   * From now on this one is in use: a node has one connection. The one before drains when this is the same process with
   * a newer certificate, and is closed else.
   */
  use(link: NodeLink, instanceId: string | undefined): void {
    const links = this.#links.get(link.nodeName);
    if (links?.all.includes(link) !== true) return;
    const before = links.current;
    const isRenewed = before !== undefined && link.generation > before.generation;
    const isSameInstance = links.instanceId === instanceId;
    links.current = link;
    links.instanceId = instanceId;
    if (before === link) return;
    if (isRenewed && isSameInstance) before.drain(TAKEN_OVER);
    else before?.close("CONFLICT", TAKEN_OVER);
  }

  /** Every connection of the node, whether it has registered or not. */
  of(nodeName: string): readonly NodeLink[] {
    return this.#links.get(nodeName)?.all.slice() ?? [];
  }

  /** The nodes that have connections. */
  names(): readonly string[] {
    return [...this.#links.keys()];
  }

  /** The connection over which the node is asked. */
  current(nodeName: string): NodeLink | undefined {
    return this.#links.get(nodeName)?.current;
  }

  /** End every connection of the node. What still arrives over them is not the node's any more. */
  close(nodeName: string, code: CloseCode, message: string): void {
    const links = this.#links.get(nodeName);
    this.#links.delete(nodeName);
    for (const link of links?.all.slice() ?? []) link.close(code, message);
  }

  #remove(link: NodeLink): void {
    const links = this.#links.get(link.nodeName);
    if (links === undefined) return;
    const at = links.all.indexOf(link);
    if (at >= 0) links.all.splice(at, 1);
    links.proven = links.proven.filter((other) => other !== link);
    if (links.current === link) links.current = undefined;
    if (links.all.length === 0) this.#links.delete(link.nodeName);
  }
}
