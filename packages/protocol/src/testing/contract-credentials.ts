import { assertRejects, assertSame } from "./assert.js";
import type { ContractCase } from "./contract-case.js";
import { ContractServer, dialOptions, Pair } from "./contract-server.js";

/** Who is trusted, and what each side gets to see of the other. */
export const CREDENTIAL_CASES: readonly ContractCase[] = [
  {
    name: "a client without a certificate is let in and shows an empty chain",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness);
      const server = harness.serverCredentials().certificateChain;
      assertSame(pair.accepted.peerCertificates, [], "what the server sees");
      assertSame(pair.client.localCertificates, [], "what the client presented");
      assertSame(pair.client.peerCertificates, server, "what the client sees");
      assertSame(pair.accepted.localCertificates, server, "what the server presented");
    },
  },
  {
    name: "a client's certificate reaches the server",
    async run(transport, harness) {
      const credentials = harness.clientCredentials();
      await using pair = await Pair.open(transport, harness, { dial: { credentials } });
      await pair.roundTrip();
      assertSame(pair.accepted.peerCertificates, credentials.certificateChain, "what the server sees");
      assertSame(pair.client.localCertificates, credentials.certificateChain, "what the client presented");
    },
  },
  {
    name: "private keys are wiped once the transport has its own copy",
    async run(transport, harness) {
      const server = harness.serverCredentials();
      const client = harness.clientCredentials();
      await using pair = await Pair.open(transport, harness, {
        listen: { credentials: server },
        dial: { credentials: client },
      });
      await pair.roundTrip();
      const next = harness.otherServerCredentials();
      pair.server.listener.updateConfig({ credentials: next, clientRoots: harness.roots });
      for (const { privateKey } of [server, client, next]) {
        assertSame(privateKey, new Uint8Array(privateKey.length), "key bytes");
      }
    },
  },
  {
    name: "a server from another root is not trusted",
    async run(transport, harness) {
      await using server = await ContractServer.open(transport, harness);
      const options = dialOptions(server, harness, { roots: harness.foreignRoots });
      await assertRejects(transport.dial(options), "SERVER_UNTRUSTED");
    },
  },
  {
    name: "without roots nobody is trusted",
    async run(transport, harness) {
      await using server = await ContractServer.open(transport, harness);
      await assertRejects(transport.dial(dialOptions(server, harness, { roots: [] })), "SERVER_UNTRUSTED");
    },
  },
  {
    name: "one trusted root among several is enough",
    async run(transport, harness) {
      const roots = [...harness.foreignRoots, ...harness.roots];
      await using pair = await Pair.open(transport, harness, { dial: { roots } });
      await pair.roundTrip();
    },
  },
  {
    name: "a server with another name is refused",
    async run(transport, harness) {
      await using server = await ContractServer.open(transport, harness);
      const options = dialOptions(server, harness, { serverName: "someone-else.example" });
      await assertRejects(transport.dial(options), "SERVER_NAME_MISMATCH");
    },
  },
  {
    name: "a client's certificate from another root ends the connection before the server's application sees it",
    async run(transport, harness) {
      await using server = await ContractServer.open(transport, harness);
      const credentials = harness.foreignClientCredentials();
      const ask = async (): Promise<void> => {
        await using refused = await transport.dial(dialOptions(server, harness, { credentials }));
        const stream = await refused.openStream();
        await stream.write(Uint8Array.of(1));
        await stream.read();
      };
      await assertRejects(ask(), "CLIENT_CERTIFICATE_REFUSED");
      await using client = await transport.dial(dialOptions(server, harness));
      const first = await server.connection();
      assertSame(first?.remoteAddress.port, client.localAddress.port, "the first connection at the server");
    },
  },
  {
    name: "a new configuration holds for new connections and leaves the old ones alone",
    async run(transport, harness) {
      await using pair = await Pair.open(transport, harness);
      const next = harness.otherServerCredentials();
      pair.server.listener.updateConfig({ credentials: next, clientRoots: harness.roots });
      await using client = await transport.dial(dialOptions(pair.server, harness));
      const accepted = await pair.server.connection();
      assertSame(client.peerCertificates, next.certificateChain, "what a new client sees");
      assertSame(accepted?.localCertificates, next.certificateChain, "what a new connection presented");
      const { certificateChain } = harness.serverCredentials();
      assertSame(pair.accepted.localCertificates, certificateChain, "what the old connection presented");
      await pair.roundTrip();
    },
  },
  {
    name: "credentials that cannot be used are refused and change nothing",
    async run(transport, harness) {
      const broken = (): { certificateChain: Uint8Array[]; privateKey: Uint8Array } => ({
        certificateChain: [],
        privateKey: new Uint8Array(48),
      });
      await assertRejects(
        ContractServer.open(transport, harness, { credentials: broken() }),
        "CONFIG_INVALID",
      );
      await using pair = await Pair.open(transport, harness);
      await assertRejects(
        Promise.resolve().then(() =>
          pair.server.listener.updateConfig({ credentials: broken(), clientRoots: harness.roots }),
        ),
        "CONFIG_INVALID",
      );
      await assertRejects(
        transport.dial(dialOptions(pair.server, harness, { credentials: broken() })),
        "CONFIG_INVALID",
      );
      await using client = await transport.dial(dialOptions(pair.server, harness));
      const { certificateChain } = harness.serverCredentials();
      assertSame(client.peerCertificates, certificateChain, "what a new client sees");
    },
  },
];
