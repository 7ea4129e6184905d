import type { Transport } from "../transport.js";
import type { TransportHarness } from "./contract-server.js";

/** One promise of the `Transport` port, as a sentence and as code that tries to break it. */
export interface ContractCase {
  readonly name: string;
  run(transport: Transport, harness: TransportHarness): Promise<void>;
}
