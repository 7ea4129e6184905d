import { hex, RksError, type Logger } from "@rk8s/protocol";
import type { Identity } from "../identity/identity.js";
import { rootPin } from "../identity/trust.js";
import type { TrustedRoots } from "../identity/trusted-roots.js";
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
  const { nodeName, recovery, trustBundle: roots, refusedIssuers } = identity;
  if (recovery === undefined) return;
  await options.memory?.save({
    nodeName,
    rksAddress: options.rksAddress,
    ...pinned({ roots, refusedIssuers }),
    ...recovery,
  });
}

/**
 * Other roots may vouch for the control plane from now on. They are on disk when this resolves: only then may the
 * change be acknowledged.
 * @throws {RksError} CONFIG_INVALID, STORAGE_UNWRITABLE, STORAGE_FULL.
 */
export async function rememberRoots(
  trust: Omit<TrustedRoots, "generation">,
  memory: NodeMemory | undefined,
): Promise<void> {
  const remembered = await memory?.load();
  if (remembered === undefined) return;
  const { refusedIssuers: _refused, ...rest } = remembered;
  const next = { ...rest, ...pinned(trust) };
  const isSame = JSON.stringify(pinsOf(remembered)) === JSON.stringify(pinsOf(next));
  if (!isSame) await memory?.save(next);
}

function pinned({
  roots,
  refusedIssuers = [],
}: Omit<TrustedRoots, "generation">): Pick<RememberedNode, "rootPins" | "refusedIssuers"> {
  const rootPins = [...new Set(roots.map((root) => rootPin(root)))];
  return { rootPins, ...(refusedIssuers.length === 0 ? {} : { refusedIssuers: refusedIssuers.map(hex) }) };
}

function pinsOf({ rootPins, refusedIssuers = [] }: RememberedNode): readonly (readonly string[])[] {
  return [rootPins, refusedIssuers];
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
