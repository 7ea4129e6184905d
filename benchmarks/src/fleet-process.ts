/** A part of the fleet in a process of its own: `fork(fleet-process)`; ends with its parent. */
import { FleetAgents, type FleetInit, type FleetMember, type FleetReport } from "./fleet-agents.js";
import { Flood, type FloodInit } from "./flood.js";

export type FleetRequest =
  | { readonly open: FleetInit }
  | { readonly join: readonly FleetMember[] }
  | { readonly flood: FloodInit }
  | "report"
  | "usage";
/** `cpuMs` is the process's CPU time so far. */
export type FleetAnswer = "done" | { readonly failed: string } | FleetReport | { readonly cpuMs: number };

let agents: FleetAgents | undefined;

process.on("message", (request: FleetRequest) => {
  void answer(request).then(
    (value) => process.send!(value),
    (reason: unknown) => process.send!({ failed: String(reason) } satisfies FleetAnswer),
  );
});
process.on("disconnect", () => process.exit());

async function answer(request: FleetRequest): Promise<FleetAnswer> {
  if (request === "usage") {
    const { user, system } = process.cpuUsage();
    return { cpuMs: (user + system) / 1000 };
  }
  if (request === "report") return agents!.report();
  if ("open" in request) agents = new FleetAgents(request.open);
  else if ("flood" in request) await Flood.start(request.flood);
  else await agents!.join(request.join);
  return "done";
}
