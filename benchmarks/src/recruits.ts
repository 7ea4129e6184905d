import type { ControlPlane } from "./control-plane.js";
import type { FleetMember } from "./fleet-agents.js";

/** A token's record holds its uses, and joins of one token wait for one another. */
const USES_PER_TOKEN = 50;

/** Nodes that may join, with tokens that several of them share. */
export async function recruit(rks: ControlPlane, prefix: string, count: number): Promise<FleetMember[]> {
  const tokens: string[] = [];
  for (let i = 0; i < Math.ceil(count / USES_PER_TOKEN); i++)
    tokens.push(await rks.mintToken({ uses: USES_PER_TOKEN, ttlSeconds: 86_400 }));
  return Array.from({ length: count }, (_, i) => ({
    nodeName: `${prefix}-${i}`,
    joinToken: tokens[i % tokens.length]!,
  }));
}
