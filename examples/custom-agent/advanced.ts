/**
 * The stages of an agent one by one: a key pair and a certification request made with other libraries, the token
 * exchanged for a certificate, a connection by mutual TLS, messages of its own on it, and a renewal.
 *
 *     node advanced.ts ADDRESS TOKEN_FILE ROOT_PEM NODE_NAME
 */
// oxlint-disable-next-line import/no-unassigned-import -- @peculiar/x509 needs it, and before itself
import "reflect-metadata";
import { readFile } from "node:fs/promises";
import { Crypto } from "@peculiar/webcrypto";
import { Pkcs10CertificateRequestGenerator } from "@peculiar/x509";
import {
  connect,
  createHostFacts,
  importKeyPair,
  renewCertificate,
  requestCertificate,
  type RksConnection,
  systemClock,
} from "@rk8s/agent";

const [rksAddress = "127.0.0.1:50051", tokenFile = "join.token", rootCertPath, nodeName = "custom-1"] =
  process.argv.slice(2);

// 1. A key pair by @peculiar/webcrypto. It must be extractable: the TLS stack takes the key's bytes.
const crypto = new Crypto();
const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);

// 2. A certification request by @peculiar/x509. What it asks for is a wish; the control plane decides.
const request = await Pkcs10CertificateRequestGenerator.create(
  { name: `CN=${nodeName}`, keys, signingAlgorithm: algorithm },
  crypto,
);

// 3. The token is exchanged for a certificate. Disposing the identity wipes the private key.
using identity = await requestCertificate({
  rksAddress,
  joinToken: await readFile(tokenFile, "utf8"),
  rootCertPath,
  nodeName,
  keyPair: await importKeyPair(keys, { crypto }),
  csr: new Uint8Array(request.rawData),
});
console.log(`joined as ${identity.nodeName}, certificate ${identity.serialNumber}`);

// 4. Mutual TLS with that certificate. Once this resolves, both sides have accepted each other.
await using connection = await connect({ identity, rksAddress });
const server = connection.serverCertificate.dnsNames.join(", ");
console.log(`connected to ${server}, protocol version ${connection.version}`);

// 5. Messages of our own: register, one heartbeat.
const facts = createHostFacts(
  { podCapacity: 0, runtimeVersion: "", agentVersion: "custom/1", diskPath: "." },
  { clock: systemClock },
);
const status = await facts.read({ nodeName: identity.nodeName, localAddress: connection.localAddress });
// The same for as long as this process lives: whoever registers with another one is a copy of this node.
const instanceId = crypto.randomUUID();
async function register(over: RksConnection): Promise<number> {
  const registered = await over.request(
    { type: "RegisterNode", nodeName: identity.nodeName, version: "custom/1", instanceId, status, pods: [] },
    "Registered",
  );
  return registered.heartbeatIntervalSeconds;
}
console.log(`registered; a heartbeat is wanted every ${await register(connection)} s`);
await connection.request({ type: "Heartbeat", status }, "Ack");

// 6. Renew, make before break: a new key, its certificate, a second connection. Then the old one has had its time.
using renewed = await renewCertificate(connection, identity);
await using next = await connect({ identity: renewed, rksAddress });
await register(next);
await connection.close();
console.log(`renewed as ${renewed.nodeName}, certificate ${renewed.serialNumber}`);
await next.request({ type: "NodeStopping", reason: "the example is over" }, "Ack");
console.log("done");
