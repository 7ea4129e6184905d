import { RksError } from "@rk8s/protocol";
import type { RotationStep } from "../pki/cluster-rotation.js";
import type { RotationPhase } from "../pki/cluster-roots.js";
import type { StoreMemberBehind } from "../store/choose-store.js";
import { listed, MAX_LISTED } from "./listed.js";

/** What lets members of the store follow, as the beginning of a sentence. */
export const STORE_REMEDY =
  "Run `rks gen xline-certs`, copy each folder to its member of the store and restart the members one by one";

/** Who would not go on after a step. */
export interface Behind {
  readonly nodes: readonly string[];
  /** Of the external store. */
  readonly members: readonly StoreMemberBehind[];
  /** Those of the nodes whose certificate would not count any more. */
  readonly cannotGoOn: readonly string[];
}

/** Nobody is left behind. */
export const NOBODY: Behind = { nodes: [], members: [], cannotGoOn: [] };

/**
 * `force` names nodes, and members by their endpoints.
 * @throws {RksError} CA_PHASE_INVALID when somebody is left behind by the step who is not named.
 */
export function assertNamed(step: RotationStep, behind: Behind, force: readonly string[]): void {
  const nodes = behind.nodes.filter((name) => !force.includes(name));
  const members = behind.members.filter(({ endpoint }) => !force.includes(endpoint));
  if (nodes.length + members.length === 0) return;
  const who = [
    ...(nodes.length > 0 ? [`${nodes.length} nodes`] : []),
    ...(members.length > 0 ? [`${members.length} members of the store`] : []),
  ];
  const names = [...nodes, ...members.map(({ endpoint }) => endpoint)].slice(0, MAX_LISTED).join(" ");
  const remedies = [
    ...(members.length > 0 ? [STORE_REMEDY] : []),
    ...(nodes.length > 0 ? ["Wait for the nodes with `rks ca status`"] : []),
  ];
  throw new RksError(
    "CA_PHASE_INVALID",
    `"${step}" would leave ${who.join(" and ")} behind that have not followed yet: ${listed([...nodes, ...members.map(described)])}`,
    { suggestion: `${remedies.join("; ")}, or go on without them: \`rks ca ${step} --force ${names}\`.` },
  );
}

/** While the other root is not trusted any more, new connections to such members fail. */
export function storeWarnings(phase: RotationPhase, behind: readonly StoreMemberBehind[]): readonly string[] {
  if (behind.length === 0 || (phase !== "steady" && phase !== "tainted")) return [];
  const names = listed(behind.map(described));
  return [
    `rks cannot connect anew to members of its store: ${names}; unless they are down, do not restart rks now, run \`rks gen xline-certs\`, copy all folders to the members, and then restart these one right after the other`,
  ];
}

function described({ endpoint, code }: StoreMemberBehind): string {
  return `${endpoint} (${code})`;
}
