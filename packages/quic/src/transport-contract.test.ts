import { transportContract } from "@rk8s/protocol/testing";
import { describe, test } from "vitest";
import { createQuicTransport } from "./index.js";
import { copyOf, TestCa } from "./testing/test-pki.js";
import { systemClock } from "./testing/system-clock.js";

const ca = await TestCa.create();
const foreignCa = await TestCa.create("CN=Foreign Root");
const server = await ca.issue();
const otherServer = await ca.issue();
const client = await ca.issue({ name: "node-1", usage: "client" });
const foreignClient = await foreignCa.issue({ name: "node-1", usage: "client" });

transportContract(
  "QUIC",
  {
    createTransport: () => createQuicTransport({ clock: systemClock }),
    serverCredentials: () => copyOf(server),
    otherServerCredentials: () => copyOf(otherServer),
    clientCredentials: () => copyOf(client),
    foreignClientCredentials: () => copyOf(foreignClient),
    serverName: "rks-cluster",
    roots: [ca.root],
    foreignRoots: [foreignCa.root],
  },
  { describe, test },
);
