export {
  aHello,
  aJoinToken,
  aJoinTokenText,
  aNode,
  aNodeStatus,
  aPod,
  aPodManifest,
  aPodStatus,
  aWelcome,
} from "./builders.js";
export type { PodFields } from "./builders.js";
export type { TransportHarness } from "./contract-server.js";
export { FakeClock } from "./fake-clock.js";
export type { MemoryFault } from "./memory-fault.js";
export { createMemoryTransport } from "./memory-transport.js";
export type { MemoryTransport, MemoryTransportOptions } from "./memory-transport.js";
export { flagsOfHelp, spansOf, tablesOf } from "./reference-page.js";
export { seededRandom } from "./seeded-random.js";
export { signalLoad } from "./signal-load.js";
export { transportContract } from "./transport-contract.js";
export type { TestRunner } from "./transport-contract.js";
export { presentsRoot } from "./verify-chain.js";
export type { PresentedChain, VerifyChain } from "./verify-chain.js";
