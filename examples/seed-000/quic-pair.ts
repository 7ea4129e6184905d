/**
 * Seed 000, second sample: both ends of a QUIC connection by mutual TLS, with certificates from a vault in this
 * process.
 *
 *     node quic-pair.js
 */
import { IssueCertificateResponse, memoryStorage, openVault, type Vault } from "@rk8s/control-plane";
import { systemClock } from "@rk8s/agent";
import { createQuicTransport } from "@rk8s/quic";

const ALPN = "hello/1";

// 1. A vault with a root, and one role for each end: a certificate for one side is no good on the other.
await using storage = memoryStorage();
await using vault: Vault = await openVault({ storage });
const { shares, rootToken } = await vault.init({ shares: 1, threshold: 1 });
await vault.unseal(shares[0]!);
await vault.write(rootToken, "sys/mounts/pki", { type: "pki" });
await vault.write(rootToken, "pki/root/generate/internal", { common_name: "rk8s demo root", ttl: "8760h" });
const role = { allow_any_name: true, allow_ip_sans: true, max_ttl: "720h", ttl: "24h" };
await vault.write(rootToken, "pki/roles/quic-server", { ...role, server_flag: true, client_flag: false });
await vault.write(rootToken, "pki/roles/quic-client", { ...role, server_flag: false, client_flag: true });

const server = await issue("quic-server", { common_name: "rks.local", alt_names: "localhost", ttl: "1h" });
const client = await issue("quic-client", { common_name: "worker-01", ttl: "1h" });
const roots = server.toCerts().slice(1);

// 2. A QUIC server that asks for client certificates of the same root.
const transport = createQuicTransport({ clock: systemClock });
await using listener = await transport.listen({
  host: "127.0.0.1",
  port: 0,
  alpn: [ALPN],
  credentials: server.toCredentials(),
  clientRoots: roots,
});
const served = serveOne();

// 3. A client with a certificate of its own.
await using connection = await transport.dial({
  ...listener.address,
  alpn: ALPN,
  serverName: "rks.local",
  roots,
  credentials: client.toCredentials(),
});
const stream = await connection.openStream();
await stream.write(new TextEncoder().encode("hello"));
stream.end();
console.log(`client received: ${await readAll(stream)}`);
await served;

async function issue(name: string, request: Record<string, string>): Promise<IssueCertificateResponse> {
  const answer = await vault.write(rootToken, `pki/issue/${name}`, request);
  return new IssueCertificateResponse(answer?.data ?? {});
}

/** Take one connection and one stream on it; a client without a certificate gets no answer. */
async function serveOne(): Promise<void> {
  for await (const accepted of listener.connections()) {
    if (accepted.peerCertificates.length === 0) continue;
    for await (const incoming of accepted.incomingStreams()) {
      console.log(`server received: ${await readAll(incoming)}`);
      await incoming.write(new TextEncoder().encode("welcome"));
      incoming.end();
      return;
    }
  }
}

async function readAll(from: typeof stream): Promise<string> {
  const chunks: Uint8Array[] = [];
  for (let chunk = await from.read(); chunk !== undefined; chunk = await from.read()) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}
