import type { NodeMemory } from "./node-memory.js";
import type { RecoveryMethod } from "./recovery-method.js";

/** How a node comes back when its key was lost with the process, after a reboot for example. */
export interface RecoveryOptions {
  /** Public facts that survive; without them nothing is known of a life before. */
  readonly memory: NodeMemory;
  /** Keys of this machine in the order of preference; none: by a grant of the control plane, or not at all. */
  readonly methods: readonly RecoveryMethod[];
  /** What `readMachineId` gives. */
  readonly machineIdSha256: Uint8Array;
}
