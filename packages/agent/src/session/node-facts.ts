import type { NodeStatus, SocketAddress } from "@rk8s/protocol";

/** What may differ from one reading to the next. */
export interface NodeFactsContext {
  readonly nodeName: string;
  /** This host's end of the connection to the control plane. */
  readonly localAddress: SocketAddress;
}

/** What a node says of itself with every heartbeat. `host-facts.ts` reads it from the operating system. */
export interface NodeFacts {
  read(context: NodeFactsContext): Promise<NodeStatus>;
}
