import type { Connection, DialOptions, Transport } from "@rk8s/protocol";

/** The transport, dialing otherwise. */
export function withDial(
  transport: Transport,
  dial: (options: DialOptions) => Promise<Connection>,
): Transport {
  return {
    listen: async (options) => transport.listen(options),
    probe: async (options) => transport.probe(options),
    dial,
  };
}
