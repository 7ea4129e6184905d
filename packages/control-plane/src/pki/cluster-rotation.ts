import { equalBytes, RksError } from "@rk8s/protocol";
import type { Certificate } from "@rk8s/x509";
import {
  type ClusterIntermediate,
  type ClusterRoot,
  type ClusterRoots,
  isOffline,
  MAX_INTERMEDIATES,
  phaseOf,
  type RotationPhase,
} from "./cluster-roots.js";

/** What can be done to the roots, and to the intermediates of an offline one. */
export const ROTATION_STEPS = [
  "prepare",
  "activate",
  "retire",
  "rollback",
  "taint",
  "revoke",
  "renew",
] as const;
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
  renew: ["steady", "prepared", "activated", "tainted"],
};

const NEXT: Readonly<Record<RotationPhase, string>> = {
  steady: "Begin with `rks ca prepare`.",
  prepared: "Go on with `rks ca activate`, or go back with `rks ca rollback`.",
  activated: "Go on with `rks ca retire`, or go back with `rks ca rollback`.",
  tainted: "End it with `rks ca revoke` once every node has a new certificate: `rks ca status`.",
};

const NEXT_INTERMEDIATE =
  "Put a new intermediate in before this one ends: `rks ca csr`, let the root sign it, `rks ca renew --certificates FILE`.";

/** What an operator does next, as one sentence. */
export function nextStepOf(roots: ClusterRoots): string {
  const phase = phaseOf(roots);
  return phase === "steady" && isOffline(roots.active) ? NEXT_INTERMEDIATE : NEXT[phase];
}

/** @throws {RksError} CA_PHASE_INVALID when the step is not one of the phase the roots are in. */
export function assertStep(roots: ClusterRoots, step: RotationStep): void {
  const phase = phaseOf(roots);
  if (PHASES[step].includes(phase) || (step === "taint" && hasFormer(roots.active))) return;
  throw new RksError("CA_PHASE_INVALID", `"${step}" is not possible in phase "${phase}" of a root rotation`, {
    suggestion: nextStepOf(roots),
  });
}

/** Whether an intermediate that signed before the present one can be tainted. */
function hasFormer({ intermediates }: ClusterRoot): boolean {
  return intermediates.slice(1).some(({ isTainted }) => !isTainted);
}

type Step = (roots: ClusterRoots) => Pick<ClusterRoots, "active" | "other">;

const STEPS: Readonly<Record<Exclude<RotationStep, "prepare" | "renew">, Step>> = {
  activate: swap("outgoing"),
  retire: ({ active, other }) => ({ active, other: as(other, "retired") }),
  rollback: (roots) =>
    phaseOf(roots) === "activated"
      ? swap("incoming")(roots)
      : { active: alone(roots.active), other: undefined },
  taint: (roots) => {
    if (phaseOf(roots) === "steady") return { active: withoutFormer(roots.active), other: roots.other };
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
  step: Exclude<RotationStep, "prepare" | "renew">,
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

/**
 * The roots with an intermediate that signs from now on for the root with this number. Members need not hear of it: the root
 * that they trust leads to it. One with the same key takes the place of its former certificate; what has ended is forgotten.
 * @throws {RksError} CA_PHASE_INVALID when too many have not ended.
 */
export function withIntermediate(
  roots: ClusterRoots,
  intermediate: Certificate,
  { number, now }: { readonly number: number; readonly now: number },
): ClusterRoots {
  const change = (root: ClusterRoot): ClusterRoot => {
    if (root.number !== number) return root;
    const isKept = ({ certificate }: ClusterIntermediate): boolean =>
      certificate.notAfter > now && !equalBytes(certificate.spki, intermediate.spki);
    const intermediates = [
      { certificate: intermediate, isTainted: false },
      ...root.intermediates.filter(isKept),
    ];
    if (intermediates.length > MAX_INTERMEDIATES) {
      throw new RksError(
        "CA_PHASE_INVALID",
        `root ${number} has ${MAX_INTERMEDIATES} intermediates that have not ended`,
        { suggestion: "Let the root sign `rks ca csr` for a longer time, and less often." },
      );
    }
    return { ...root, intermediates };
  };
  return { ...roots, active: change(roots.active), other: roots.other && change(roots.other) };
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

/** What its present intermediate has not signed does not count. */
function withoutFormer(root: ClusterRoot): ClusterRoot {
  const [present, ...former] = root.intermediates;
  const tainted = former.map(({ certificate }) => ({ certificate, isTainted: true }));
  return present === undefined ? root : { ...root, intermediates: [present, ...tainted] };
}

/** Nothing vouches for it but itself. */
function alone(root: ClusterRoot): ClusterRoot {
  return { ...root, cross: undefined };
}
