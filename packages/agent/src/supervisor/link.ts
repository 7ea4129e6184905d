import type { IdentityStash } from "../identity/identity-stash.js";

/** What keeps a node's identity alive through what; words for people, "no" where nothing does. */
export interface Survival {
  /** The agent's process dies, of whatever. */
  readonly crash: string;
  /** The agent's program is replaced. */
  readonly upgrade: string;
}

/** An agent that nobody starts again. */
export const SURVIVES_NOTHING: Survival = { crash: "no", upgrade: "no" };

/** A worker's side of its supervisor. */
export interface SupervisorLink {
  /** The supervisor's pid: the process that the user started, and that signals are for. */
  readonly pid: number;
  /** Holds the identity when the worker dies. */
  readonly stash: IdentityStash;
  readonly survives: Survival;
  /** Tell the supervisor that the node is in service: what kills the worker from now on is not its start. */
  ready(): void;
}
