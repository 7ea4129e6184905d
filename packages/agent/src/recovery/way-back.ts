import { RksError } from "@rk8s/protocol";
import type { AgentPorts } from "../ports.js";
import type { RksConnection } from "../session/connection.js";
import { enrolRecovery } from "./enrol-recovery.js";
import type { RecoveryKind } from "./recovery-method.js";
import type { RecoveryOptions } from "./recovery-options.js";

/**
 * Work for the connections of one agent: open the node's way back after a reboot, once, and say which it is. What
 * fails is tried again on the next connection; it never harms the one that is in use.
 */
export function wayBack(
  init: { readonly nodeName: string; readonly recovery: RecoveryOptions },
  { logger }: Pick<AgentPorts, "logger">,
  onKnown: (by: RecoveryKind | "grant" | "no") => void,
): (connection: RksConnection, signal: AbortSignal) => Promise<void> {
  const { nodeName, recovery } = init;
  let isKnown = false;
  return async (connection, signal) => {
    if (isKnown) return;
    try {
      const { methods, memory } = recovery;
      const kind = await enrolRecovery(connection, { nodeName, methods }, { logger, signal });
      const grantsLeft = (await memory.load())?.grantsLeft ?? 0;
      isKnown = true;
      onKnown(kind ?? (grantsLeft > 0 ? "grant" : "no"));
    } catch (reason) {
      const { code, message } = RksError.from(reason);
      if (!signal.aborted) logger.warn("Way back after a reboot is not known yet", { code, reason: message });
    }
  };
}
