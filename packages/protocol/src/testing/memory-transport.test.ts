import { describe, test } from "vitest";
import { utf8 } from "../bytes.js";
import type { Credentials } from "../transport.js";
import type { TransportHarness } from "./contract-server.js";
import { createMemoryTransport } from "./memory-transport.js";
import { transportContract } from "./transport-contract.js";

const root = utf8("root certificate");
const foreignRoot = utf8("certificate of another root");

/** Credentials that `presentsRoot` judges like real ones. */
function credentials(leaf: string, issuer: Uint8Array): Credentials {
  return { certificateChain: [utf8(leaf), issuer.slice()], privateKey: utf8("private key") };
}

const harness: TransportHarness = {
  createTransport: () => createMemoryTransport(),
  serverCredentials: () => credentials("leaf of rks-cluster", root),
  otherServerCredentials: () => credentials("next leaf of rks-cluster", root),
  clientCredentials: () => credentials("leaf of worker-1", root),
  foreignClientCredentials: () => credentials("leaf of worker-1 from elsewhere", foreignRoot),
  serverName: "rks-cluster",
  roots: [root],
  foreignRoots: [foreignRoot],
};

transportContract("memory transport", harness, { describe, test });
