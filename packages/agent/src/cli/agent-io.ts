import type { CliIo } from "@rk8s/host/cli-io";
import type { SupervisorLink } from "../supervisor/link.js";

/** The process that a command of `rkl` runs in. */
export interface AgentIo extends CliIo {
  /** Present in a worker of `rkl pod daemon`. */
  readonly supervisor?: SupervisorLink | undefined;
}
