import type { CliIo } from "@rk8s/host/cli-io";
import type { Node, Pod } from "@rk8s/protocol";
import { allPages } from "./all-pages.js";
import { type ObjectKind, type PeerArguments, type ViewArguments } from "./flags.js";
import { formatTable } from "./output.js";
import { openPeer, type Peer, type PeerOptions } from "./peer.js";
import {
  nodeRow,
  NODE_HEADINGS,
  podRow,
  POD_HEADINGS,
  WIDE_NODE_HEADINGS,
  WIDE_POD_HEADINGS,
} from "./rows.js";

export interface GetArguments extends PeerArguments, ViewArguments, PeerOptions {
  readonly kind: ObjectKind;
  readonly name?: string | undefined;
}

/** `rkl get pods|nodes [NAME]`, `rkl pod list` and `rkl pod state NAME`. */
export async function get(args: GetArguments, io: CliIo): Promise<void> {
  const kind = args.kind.startsWith("n") ? "nodes" : "pods";
  await using peer = await openPeer(args, io, args);
  const objects = kind === "pods" ? await readPods(peer, args) : await readNodes(peer, args);
  const shown = args.name === undefined ? objects : objects[0];
  const output = args.json ? "json" : args.output;
  if (output === "json") return io.stdout(`${JSON.stringify(shown, undefined, args.json ? undefined : 2)}\n`);
  if (output === "yaml") {
    const { stringify } = await import("yaml");
    return io.stdout(stringify(shown, { aliasDuplicateObjects: false }));
  }
  if (objects.length === 0) return io.stderr(`no ${kind} found\n`);
  io.stdout(formatObjects(kind, objects, output === "wide"));
}

async function readPods(peer: Peer, args: GetArguments): Promise<readonly Pod[]> {
  const { name, namespace } = args;
  if (name !== undefined) {
    return [(await peer.ask({ type: "GetPod", namespace: namespace ?? "default", name }, "Pod")).pod];
  }
  return allPages(async (after) => {
    const { pods, next } = await peer.ask({ type: "ListPods", namespace, after }, "PodList");
    return { objects: pods, next };
  });
}

async function readNodes(peer: Peer, args: GetArguments): Promise<readonly Node[]> {
  const { name } = args;
  if (name !== undefined) return [(await peer.ask({ type: "GetNode", name }, "Node")).node];
  return allPages(async (after) => {
    const { nodes, next } = await peer.ask({ type: "ListNodes", after }, "NodeList");
    return { objects: nodes, next };
  });
}

function formatObjects(kind: "pods" | "nodes", objects: readonly (Pod | Node)[], isWide: boolean): string {
  const nowMs = Date.now();
  if (kind === "nodes") {
    const rows = objects.map((node) => nodeRow(node as Node, { nowMs, isWide }));
    return formatTable(isWide ? WIDE_NODE_HEADINGS : NODE_HEADINGS, rows);
  }
  const rows = objects.map((pod) => podRow(pod as Pod, { nowMs, isWide }));
  return formatTable(isWide ? WIDE_POD_HEADINGS : POD_HEADINGS, rows);
}
