import { systemClock } from "@rk8s/host";
import { silentLogger, type Clock, type Logger, type Transport } from "@rk8s/protocol";

/** What everything in this package needs from outside. */
export interface AgentPorts {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Uniform in [0, 1); spreads retries. Secrets never come from it. */
  readonly random: () => number;
}

/** The same as a caller gives it: each is optional. */
export type PortOptions = { readonly [K in keyof AgentPorts]?: AgentPorts[K] | undefined };

/** Fill in what the caller left out: QUIC, the system's clock, silence. */
export async function completePorts(options: PortOptions): Promise<AgentPorts> {
  const clock = options.clock ?? systemClock;
  const logger = options.logger ?? silentLogger;
  return {
    clock,
    logger,
    random: options.random ?? Math.random,
    transport: options.transport ?? (await quicTransport(clock, logger)),
  };
}

async function quicTransport(clock: Clock, logger: Logger): Promise<Transport> {
  const { createQuicTransport } = await import("@rk8s/quic");
  return createQuicTransport({ clock, logger });
}
