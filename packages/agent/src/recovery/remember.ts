import { RksError, type Logger } from "@rk8s/protocol";
import type { Identity } from "../identity/identity.js";
import { rootPin } from "../identity/trust.js";
import type { NodeMemory, RememberedNode } from "./node-memory.js";

/**
 * Write down what this identity's node must know to come back. A control plane that says nothing about recovery has
 * none to offer: then nothing is written.
 * @throws {RksError} STORAGE_UNWRITABLE, STORAGE_FULL; the identity must not be used then.
 */
export async function rememberJoin(
  identity: Identity,
  options: { readonly rksAddress: string; readonly memory: NodeMemory | undefined },
): Promise<void> {
  const { nodeName, recovery, trustBundle } = identity;
  if (recovery === undefined) return;
  await options.memory?.save({
    nodeName,
    rksAddress: options.rksAddress,
    rootPins: pinsOf(trustBundle),
    ...recovery,
  });
}

/**
 * Other roots may vouch for the control plane from now on. They are on disk when this resolves: only then may the
 * change be acknowledged.
 * @throws {RksError} CONFIG_INVALID, STORAGE_UNWRITABLE, STORAGE_FULL.
 */
export async function rememberRoots(
  roots: readonly Uint8Array[],
  memory: NodeMemory | undefined,
): Promise<void> {
  const remembered = await memory?.load();
  const rootPins = pinsOf(roots);
  if (remembered === undefined || remembered.rootPins.join(" ") === rootPins.join(" ")) return;
  await memory?.save({ ...remembered, rootPins });
}

function pinsOf(roots: readonly Uint8Array[]): string[] {
  return [...new Set(roots.map((root) => rootPin(root)))];
}

/**
 * The node that lived here before, if it is the one that is meant. With a token there is a way without it: what cannot
 * be read, or is another node's, is then only reported.
 * @throws {RksError} CONFIG_INVALID without a token.
 */
export async function recallNode(
  wanted: {
    readonly memory: NodeMemory;
    readonly nodeName: string | undefined;
    readonly hasToken: boolean;
  },
  { logger }: { readonly logger: Logger },
): Promise<RememberedNode | undefined> {
  try {
    const remembered = await wanted.memory.load();
    const { nodeName = remembered?.nodeName } = wanted;
    if (remembered === undefined || remembered.nodeName === nodeName) return remembered;
    throw new RksError(
      "CONFIG_INVALID",
      `this data folder is node "${remembered.nodeName}"'s, not node "${nodeName}"'s`,
      { suggestion: "Give another --data-dir, or leave --node-name out." },
    );
  } catch (reason) {
    const error = RksError.from(reason);
    if (!wanted.hasToken) throw error;
    logger.warn("The node of before cannot come back here", { reason: error.message });
    return undefined;
  }
}
