import { RksError } from "@rk8s/protocol";
import { type ClusterRoot, type ClusterRoots, phaseOf, type RotationPhase } from "./cluster-roots.js";

/** What can be done to the roots. */
export const ROTATION_STEPS = ["prepare", "activate", "retire", "rollback", "taint", "revoke"] as const;
/** One of `ROTATION_STEPS`. */
export type RotationStep = (typeof ROTATION_STEPS)[number];

/** Where each step is possible, and what the operator wants instead where it is not. */
const PHASES: Readonly<Record<RotationStep, readonly RotationPhase[]>> = {
  prepare: ["steady"],
  activate: ["prepared"],
  retire: ["activated"],
  rollback: ["prepared", "activated"],
  taint: ["prepared", "activated"],
  revoke: ["tainted"],
};

const NEXT: Readonly<Record<RotationPhase, string>> = {
  steady: "Begin with `rks ca prepare`.",
  prepared: "Go on with `rks ca activate`, or go back with `rks ca rollback`.",
  activated: "Go on with `rks ca retire`, or go back with `rks ca rollback`.",
  tainted: "End it with `rks ca revoke` once every node has a new certificate: `rks ca status`.",
};

/** What an operator does next in a phase, as one sentence. */
export function nextStepOf(phase: RotationPhase): string {
  return NEXT[phase];
}

/** @throws {RksError} CA_PHASE_INVALID when the step is not one of the phase the roots are in. */
export function assertStep(roots: ClusterRoots, step: RotationStep): void {
  const phase = phaseOf(roots);
  if (PHASES[step].includes(phase)) return;
  throw new RksError("CA_PHASE_INVALID", `"${step}" is not possible in phase "${phase}" of a root rotation`, {
    suggestion: NEXT[phase],
  });
}

type Step = (roots: ClusterRoots) => Pick<ClusterRoots, "active" | "other">;

const STEPS: Readonly<Record<Exclude<RotationStep, "prepare">, Step>> = {
  activate: swap("outgoing"),
  retire: ({ active, other }) => ({ active, other: as(other, "retired") }),
  rollback: (roots) =>
    phaseOf(roots) === "activated"
      ? swap("incoming")(roots)
      : { active: alone(roots.active), other: undefined },
  taint: (roots) => {
    const { active, other } = phaseOf(roots) === "prepared" ? swap("outgoing")(roots) : roots;
    return { active: alone(active), other: alone(as(other, "tainted")) };
  },
  revoke: ({ active }) => ({ active: alone(active), other: undefined }),
};

/**
 * The roots after a step, one generation on.
 * @throws {RksError} CA_PHASE_INVALID.
 */
export function afterStep(
  roots: ClusterRoots,
  step: Exclude<RotationStep, "prepare">,
  now: number,
): ClusterRoots {
  assertStep(roots, step);
  return nextGeneration(roots, STEPS[step](roots), now);
}

/**
 * The roots with a successor that is trusted and does not sign yet. A retired root is forgotten: whoever still comes with
 * it cannot be told any more.
 * @throws {RksError} CA_PHASE_INVALID.
 */
export function withSuccessor(
  roots: ClusterRoots,
  made: { readonly active: ClusterRoot; readonly incoming: ClusterRoot },
  now: number,
): ClusterRoots {
  assertStep(roots, "prepare");
  const next = nextGeneration(roots, { active: made.active, other: made.incoming }, now);
  return { ...next, lastNumber: made.incoming.number };
}

function nextGeneration(
  roots: ClusterRoots,
  changed: Pick<ClusterRoots, "active" | "other">,
  now: number,
): ClusterRoots {
  return { ...roots, ...changed, generation: roots.generation + 1, since: new Date(now).toISOString() };
}

/** The other root signs from now on. */
function swap(standing: "incoming" | "outgoing"): Step {
  return ({ active, other }) => ({ active: as(other, "active"), other: as(active, standing) });
}

function as(root: ClusterRoot | undefined, standing: ClusterRoot["standing"]): ClusterRoot {
  if (root === undefined) throw new RksError("INTERNAL", "a rotation has lost its second root");
  return { ...root, standing };
}

/** Nothing vouches for it but itself. */
function alone(root: ClusterRoot): ClusterRoot {
  return { ...root, cross: undefined };
}
