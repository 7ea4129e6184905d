import { createSocket } from "node:dgram";
import { once } from "node:events";
import { networkInterfaces } from "node:os";
import { expect, test } from "vitest";
import { createQuicTransport } from "./index.js";
import { ALPN, Cluster, request, SERVER_NAME, serveEcho } from "./testing/link.js";
import { systemClock } from "./testing/system-clock.js";

const cluster = await Cluster.create();
const HELLO = new TextEncoder().encode("hello");
const HOUR = 3_600_000;
const hasIPv6 = Object.values(networkInterfaces()).some((all) =>
  all?.some(({ address }) => address === "::1"),
);

test.each([
  { name: "IPv4", listen: "127.0.0.1", dial: "127.0.0.1", needsIPv6: false },
  { name: "IPv6", listen: "::1", dial: "::1", needsIPv6: true },
  { name: "IPv6 in brackets", listen: "[::1]", dial: "[::1]", needsIPv6: true },
  { name: "a host name", listen: "localhost", dial: "localhost", needsIPv6: false },
  {
    name: "a host name whose first address may not answer",
    listen: "127.0.0.1",
    dial: "localhost",
    needsIPv6: false,
  },
  { name: "all IPv4 addresses", listen: "0.0.0.0", dial: "127.0.0.1", needsIPv6: false },
  { name: "IPv4 on a dual-stack listener", listen: "::", dial: "127.0.0.1", needsIPv6: true },
])("connects over $name with a name that is not the host's", async ({ listen, dial, needsIPv6 }) => {
  if (needsIPv6 && !hasIPv6) return;
  await using server = await cluster.listen({ host: listen });
  void serveEcho(server.listener);
  await using client = await cluster.dial(server.port, { host: dial });
  expect(client.serverName).toBe(SERVER_NAME);
  expect(await request(client, HELLO)).toEqual(HELLO);
});

const linkLocal = Object.entries(networkInterfaces())
  .flatMap(([name, all]) => (all ?? []).map(({ address }) => `${address}%${name}`))
  .find((address) => address.startsWith("fe80:"));

test("connects to a link-local address with its zone, where there is one", async () => {
  const host = linkLocal ?? "127.0.0.1";
  await using server = await cluster.listen({ host });
  void serveEcho(server.listener);
  await using client = await cluster.dial(server.port, { host });
  expect(await request(client, HELLO)).toEqual(HELLO);
});

test.each([
  { name: "has expired", leaf: { notAfter: new Date(Date.now() - HOUR / 2) }, code: "SERVER_UNTRUSTED" },
  {
    name: "is not valid yet",
    leaf: { notBefore: new Date(Date.now() + HOUR / 2) },
    code: "SERVER_UNTRUSTED",
  },
  { name: "is a client's", leaf: { usage: "client" as const }, code: "SERVER_UNTRUSTED" },
  { name: "carries another name", leaf: { name: "other" }, code: "SERVER_NAME_MISMATCH" },
])("refuses a server whose certificate $name", async ({ leaf, code }) => {
  await using server = await cluster.listen({ credentials: await cluster.ca.issue(leaf) });
  await expect(cluster.dial(server.port)).rejects.toMatchObject({ code });
});

test.each([
  { name: "has expired", leaf: { notAfter: new Date(Date.now() - HOUR / 2) } },
  { name: "is a server's", leaf: { usage: "server" as const } },
])("a client whose certificate $name learns that it was refused", async ({ leaf }) => {
  await using server = await cluster.listen();
  const credentials = await cluster.ca.issue({ usage: "client", ...leaf });
  const client = await cluster.dial(server.port, { credentials });
  expect((await client.ended).error).toMatchObject({ code: "CLIENT_CERTIFICATE_REFUSED" });
});

test("a host name that does not exist is unreachable", async () => {
  await expect(cluster.dial(9, { host: "no-such-host.invalid" })).rejects.toMatchObject({
    code: "UNREACHABLE",
  });
});

test("a port where nobody listens is reported long before the deadline", async () => {
  const server = await cluster.listen();
  const { port } = server;
  await server[Symbol.asyncDispose]();
  await expect(cluster.dial(port)).rejects.toMatchObject({ code: "UNREACHABLE" });
});

test("a server that never answers is given up at the deadline", async () => {
  const mute = createSocket("udp4");
  const listening = once(mute, "listening");
  mute.bind(0, "127.0.0.1");
  await listening;
  const { port } = mute.address();
  await expect(cluster.dial(port, { limits: { handshakeTimeoutMs: 100 } })).rejects.toMatchObject({
    code: "TIMED_OUT",
  });
  mute.close();
});

test("a probe shows an expired server's chain too", async () => {
  const credentials = await cluster.ca.issue({ notAfter: new Date(Date.now() - HOUR / 2) });
  const { certificateChain } = credentials;
  await using server = await cluster.listen({ credentials });
  const chain = await cluster.transport.probe({
    host: "127.0.0.1",
    port: server.port,
    alpn: ALPN,
    serverName: "anything",
  });
  expect(chain.map((der) => Buffer.from(der))).toEqual(certificateChain.map((der) => Buffer.from(der)));
});

test("the same credentials can dial again although their key was wiped", async () => {
  await using server = await cluster.listen();
  const credentials = cluster.clientCredentials();
  for (let i = 0; i < 2; i++) {
    await using client = await cluster.dial(server.port, { credentials });
    expect(credentials.privateKey.every((byte) => byte === 0)).toBe(true);
    expect((await server.accept()).peerCertificates).toHaveLength(2);
    expect(client.localCertificates).toHaveLength(2);
  }
});

test("another transport cannot use wiped credentials", async () => {
  await using server = await cluster.listen();
  const credentials = cluster.clientCredentials();
  await using client = await cluster.dial(server.port, { credentials });
  expect(client.localCertificates).toHaveLength(2);
  const dial = createQuicTransport({ clock: systemClock }).dial({
    host: "127.0.0.1",
    port: server.port,
    alpn: ALPN,
    serverName: SERVER_NAME,
    roots: [cluster.ca.root],
    credentials,
  });
  await expect(dial).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});

test("nothing keeps the process alive once all is closed", async () => {
  const sockets = (): number => process.getActiveResourcesInfo().filter((name) => name === "UDPWRAP").length;
  const before = sockets();
  const server = await cluster.listen();
  const client = await cluster.dial(server.port);
  await cluster.dial(server.port, { roots: [] }).catch(() => undefined);
  await client.close();
  await server[Symbol.asyncDispose]();
  expect(sockets()).toBe(before);
});
