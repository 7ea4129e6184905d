import type { Transport } from "@rk8s/protocol";

import { withDial } from "./with-dial.js";

/**
 * The transport, with at most so many dials under way. In a fleet each host has a processor to dial with; thousands of agents that
 * share one would all be at it for longer than a dial may take, and none would ever be through. The latest goes first,
 * for the same reason: whoever has waited for long gives up soon, and tries again.
 */
export function dialingInTurn(transport: Transport, dials: number): Transport {
  const waiting: (() => void)[] = [];
  let free = dials;
  return withDial(transport, async (options) => {
    if (free > 0) free--;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await transport.dial(options);
    } finally {
      const next = waiting.pop();
      if (next === undefined) free++;
      else next();
    }
  });
}
