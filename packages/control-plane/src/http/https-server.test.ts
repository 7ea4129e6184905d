import { X509Certificate } from "node:crypto";
import { request as httpsRequest } from "node:https";
import { connect as connectTcp } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import type { HttpLimits } from "./http-limits.js";
import { serveHttps, type ServerIdentity } from "./https-server.js";
import { anApi, listenerPorts } from "./testing/an-api.js";
import { anHttpsVault, type HttpVault, type HttpVaultOptions } from "./testing/an-http-vault.js";
import { RawClient, rawRequest } from "./testing/raw-client.js";
import { tlsIdentity } from "./testing/tls-identity.js";

let identity: ServerIdentity;
let other: ServerIdentity;
beforeAll(() => {
  identity = tlsIdentity("first");
  other = tlsIdentity("second");
});

let open: Awaited<ReturnType<typeof anHttpsVault>> | undefined;
afterEach(async () => {
  await open?.[Symbol.asyncDispose]();
  open = undefined;
});

/** A copy: whoever serves may wipe what it was given. */
const copyOf = ({ certificates, privateKey }: ServerIdentity): ServerIdentity => ({
  certificates: Uint8Array.from(certificates),
  privateKey: Uint8Array.from(privateKey),
});

async function serve(options: HttpVaultOptions = {}): ReturnType<typeof anHttpsVault> {
  open = await anHttpsVault(copyOf(identity), options);
  return open;
}

const limits = (some: Partial<HttpLimits>): HttpVaultOptions => ({
  limits: { deadlineCheckMs: 20, ...some },
});
const GET = "GET /v1/sys/health HTTP/1.1\r\nhost: x\r\n\r\n";
const tls = {};

function secureSocket(port: number, options: object = {}): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ host: "127.0.0.1", port, rejectUnauthorized: false, ...options });
    socket.once("secureConnect", () => resolve(socket)).once("error", reject);
  });
}

const subjectOf = (socket: TLSSocket): string => socket.getPeerX509Certificate()?.subject ?? "";

describe("TLS", () => {
  test.each(["TLSv1.2", "TLSv1.3"] as const)("%s is spoken", async (version) => {
    const { port } = await serve();
    const socket = await secureSocket(port, { minVersion: version, maxVersion: version });
    expect(socket.getProtocol()).toBe(version);
    socket.destroy();
  });

  test("TLS 1.1 is refused", async () => {
    const { port } = await serve();
    const old = { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" };
    await expect(secureSocket(port, old)).rejects.toBeInstanceOf(Error);
  });

  test.each(["TLSv1.2", "TLSv1.3"] as const)("a session of %s cannot be resumed", async (version) => {
    const { port } = await serve();
    const options = { minVersion: version, maxVersion: version };
    const sessions: Buffer[] = [];
    using first = await RawClient.open({ port, tls: options });
    first.socket.on("session", (session: Buffer) => sessions.push(session));
    await first.send(GET);
    await first.reply();
    const own = (first.socket as TLSSocket).getSession();
    for (const session of [...sessions, ...(own === undefined ? [] : [own])]) {
      const again = await secureSocket(port, { ...options, session });
      expect(again.isSessionReused()).toBe(false);
      again.destroy();
    }
    expect(own === undefined && sessions.length === 0 && version === "TLSv1.3").toBe(false);
  });

  test("a client's certificate reaches the vault as it is, unverified; without one nothing does", async () => {
    const { port } = await serve();
    const chainOf = async (options: object): Promise<unknown> => {
      const { body } = await rawRequest({ port, tls: options }, { path: "/v1/echo/open/x" });
      return (JSON.parse(body) as { data: { chain: unknown; from: unknown } }).data;
    };
    expect(await chainOf({})).toMatchObject({ chain: 0, from: "127.0.0.1" });
    const client = { cert: Buffer.from(other.certificates), key: Buffer.from(other.privateKey) };
    expect(await chainOf(client)).toMatchObject({ chain: 1 });
  });

  test("a key that is not the certificate's is refused, and what was used before stays", async () => {
    const { port, server } = await serve();
    const mixed = { certificates: other.certificates, privateKey: identity.privateKey };
    expect(() => server.useIdentity(mixed)).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
    const garbage = { certificates: Buffer.from("x"), privateKey: Buffer.from("y") };
    expect(() => server.useIdentity(garbage)).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
    const socket = await secureSocket(port);
    expect(subjectOf(socket)).toBe("CN=first");
    socket.destroy();
  });

  test("a certificate is replaced under load: no request fails, open connections go on, new ones see it", async () => {
    const { port, server } = await serve();
    using before = await RawClient.open({ port, tls });
    const done = new AbortController();
    const statuses: number[] = [];
    const load = Array.from({ length: 4 }, async () => {
      while (!done.signal.aborted)
        statuses.push((await rawRequest({ port, tls }, { path: "/v1/sys/health" })).status);
    });
    for (let i = 0; i < 10; i += 1) {
      const next = copyOf(i % 2 === 0 ? other : identity);
      server.useIdentity(next);
      next.privateKey.fill(0);
      const socket = await secureSocket(port);
      expect(subjectOf(socket)).toBe(i % 2 === 0 ? "CN=second" : "CN=first");
      socket.destroy();
    }
    done.abort();
    await Promise.all(load);
    expect(new Set(statuses)).toEqual(new Set([200]));
    await before.send(GET);
    expect((await before.reply())?.status).toBe(200);
    expect(new X509Certificate(other.certificates).subject).toBe("CN=second");
  });
});

test("an address that is taken is told, and two servers run side by side", async () => {
  const { port } = await serve();
  const init = { host: "127.0.0.1", routes: [], api: anApi(), identity: copyOf(identity), drainMs: 10 };
  await expect(serveHttps({ ...init, port }, listenerPorts())).rejects.toMatchObject({ code: "UNAVAILABLE" });
  await using second = await serveHttps({ ...init, port: 0 }, listenerPorts());
  expect(second.port).not.toBe(port);
  expect((await rawRequest({ port: second.port, tls }, { path: "/livez" })).status).toBe(200);
  expect((await rawRequest({ port, tls }, { path: "/livez" })).status).toBe(200);
});

describe("bad clients", () => {
  test("one that never begins its handshake is cut", async () => {
    const { port } = await serve(limits({ handshakeTimeoutMs: 50 }));
    using client = await RawClient.open({ port });
    await client.ended();
    expect((await rawRequest({ port, tls }, { path: "/livez" })).status).toBe(200);
  });

  test("one that speaks no TLS is cut", async () => {
    const { port } = await serve();
    using client = await RawClient.open({ port });
    await client.send(GET);
    expect(await client.reply()).toBeUndefined();
  });

  test("a header that never ends is 408 and the end", async () => {
    const { port } = await serve(limits({ headersTimeoutMs: 60, requestTimeoutMs: 120 }));
    using client = await RawClient.open({ port, tls });
    await client.send("GET /v1/sys/health HTTP/1.1\r\nhost: x\r\n");
    const reply = await client.reply();
    expect(reply?.status).toBe(408);
    expect(JSON.parse(reply?.body ?? "")).toEqual({ errors: ["the request did not arrive in time"] });
    await client.ended();
  });

  test("a LIST that stops after two bytes is cut as well", async () => {
    const { port } = await serve(
      limits({ headersTimeoutMs: 60, requestTimeoutMs: 120, keepAliveTimeoutMs: 60 }),
    );
    using first = await RawClient.open({ port, tls });
    await first.send("LI");
    expect((await first.reply())?.status).toBe(408);
    await first.ended();
    using second = await RawClient.open({ port, tls });
    await second.send(GET);
    await second.reply();
    await second.send("LI");
    expect(await second.reply()).toBeUndefined();
  });

  test("a body that drips is cut", async () => {
    const { port } = await serve(limits({ headersTimeoutMs: 60, requestTimeoutMs: 120 }));
    using client = await RawClient.open({ port, tls });
    await client.send("POST /v1/echo/open/x HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{");
    const drip = setInterval(() => client.socket.write(" "), 20);
    expect((await client.reply())?.status).toBe(408);
    await client.ended();
    clearInterval(drip);
  });

  test("a connection that says nothing more is closed", async () => {
    const { port } = await serve(limits({ keepAliveTimeoutMs: 30 }));
    using client = await RawClient.open({ port, tls });
    await client.send(GET);
    expect((await client.reply())?.status).toBe(200);
    await client.ended();
  });

  test("a flood of header bytes is 431", async () => {
    const { port } = await serve();
    using client = await RawClient.open({ port, tls });
    await client.send(`GET / HTTP/1.1\r\nhost: x\r\nx-flood: ${"x".repeat(20_000)}\r\n\r\n`);
    const reply = await client.reply();
    expect([reply?.status, reply?.headers["content-type"]]).toEqual([431, "application/json"]);
    await client.ended();
  });

  test("a flood of headers ends the request or is cut down, and hurts nobody", async () => {
    const { port } = await serve();
    using client = await RawClient.open({ port, tls });
    const flood = Array.from({ length: 1000 }, (_, i) => `h${i}: x\r\n`).join("");
    await client.send(`GET /v1/sys/health HTTP/1.1\r\nhost: x\r\n${flood}\r\n`);
    expect([200, 431]).toContain((await client.reply())?.status);
    expect((await rawRequest({ port, tls }, { path: "/livez" })).status).toBe(200);
  });

  test("a body that announces too much is 413 before it is read, one that grows too much is 413 then", async () => {
    const { port } = await serve();
    const head = "POST /v1/echo/open/x HTTP/1.1\r\nhost: x\r\n";
    using announced = await RawClient.open({ port, tls });
    await announced.send(`${head}content-length: 33554433\r\n\r\n`);
    const reply = await announced.reply();
    expect([reply?.status, reply?.headers["connection"]]).toEqual([413, "close"]);
    expect(JSON.parse(reply?.body ?? "")).toMatchObject({ error: { code: "MESSAGE_TOO_LARGE" } });
    await announced.ended();
    using growing = await RawClient.open({ port, tls });
    await growing.send(`${head}transfer-encoding: chunked\r\n\r\n`);
    const piece = Buffer.concat([
      Buffer.from("100000\r\n"),
      Buffer.alloc(1_048_576, 0x20),
      Buffer.from("\r\n"),
    ]);
    for (let i = 0; i < 33; i += 1) growing.socket.write(piece);
    expect((await growing.reply())?.status).toBe(413);
    await growing.ended();
  });

  test("32 MiB are taken", async () => {
    const { port } = await serve();
    const body = Buffer.concat([Buffer.from('{"a":1'), Buffer.alloc(33_554_432 - 7, 0x20), Buffer.from("}")]);
    expect((await rawRequest({ port, tls }, { method: "POST", path: "/v1/echo/open/x", body })).status).toBe(
      200,
    );
  });

  test("two lengths, and a length beside chunks, are refused and end the connection", async () => {
    const { port } = await serve();
    for (const smuggled of [
      "content-length: 2\r\ncontent-length: 3",
      "content-length: 2\r\ntransfer-encoding: chunked",
    ]) {
      using client = await RawClient.open({ port, tls });
      await client.send(`POST /v1/echo/open/x HTTP/1.1\r\nhost: x\r\n${smuggled}\r\n\r\n{}`);
      expect((await client.reply())?.status).toBe(400);
      await client.ended();
    }
  });

  test("one that goes away in the middle takes nothing with it", async () => {
    const { port } = await serve();
    for (const bytes of [
      "G",
      "POST /v1/echo/open/x HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{",
      GET,
    ]) {
      const client = await RawClient.open({ port, tls });
      await client.send(bytes);
      client.socket.destroy();
    }
    expect((await rawRequest({ port, tls }, { path: "/livez" })).status).toBe(200);
  });

  test("one address gets its share of connections and no more, and gets it back", async () => {
    const { port } = await serve(limits({ maxConnectionsPerAddress: 3 }));
    const three = await Promise.all([1, 2, 3].map(() => RawClient.open({ port, tls })));
    await expect(RawClient.open({ port, tls })).rejects.toBeInstanceOf(Error);
    for (const client of three) {
      await client.send(GET);
      expect((await client.reply())?.status).toBe(200);
      client.socket.end();
      await client.ended();
    }
    expect((await rawRequest({ port, tls }, { path: "/livez" })).status).toBe(200);
  });

  test("when there is no room the newest is refused, the others go on", async () => {
    const { port } = await serve(limits({ maxHttpsConnections: 2 }));
    using first = await RawClient.open({ port, tls });
    using second = await RawClient.open({ port, tls });
    await expect(RawClient.open({ port, tls })).rejects.toBeInstanceOf(Error);
    for (const client of [first, second]) {
      await client.send(GET);
      expect((await client.reply())?.status).toBe(200);
    }
  });
});

describe("closing", () => {
  /** A vault whose reads wait for the test. */
  function waiting(): {
    readonly options: HttpVaultOptions;
    readonly asked: Promise<void>;
    readonly go: () => void;
  } {
    let go = (): void => undefined;
    const gate = new Promise<void>((resolve) => (go = resolve));
    let tell = (): void => undefined;
    const asked = new Promise<void>((resolve) => (tell = resolve));
    const options: HttpVaultOptions = {
      api: ({ vault }) => ({
        answer: async (request) => {
          tell();
          await gate;
          return vault.answer(request);
        },
      }),
      drainMs: 5_000,
    };
    return { options, asked, go: () => go() };
  }

  test("what is under way is answered as the last of its connection, what is idle is closed, nobody new gets in", async () => {
    const { options, asked, go } = waiting();
    const vault: HttpVault = await serve(options);
    using idle = await RawClient.open({ port: vault.port, tls });
    await idle.send("GET /livez HTTP/1.1\r\nhost: x\r\n\r\n");
    await idle.reply();
    using silent = await RawClient.open({ port: vault.port, tls });
    using busy = await RawClient.open({ port: vault.port, tls });
    await busy.send(GET);
    await asked;
    const closed = open!.server[Symbol.asyncDispose]();
    await idle.ended();
    await expect(RawClient.open({ port: vault.port, tls })).rejects.toBeInstanceOf(Error);
    go();
    const reply = await busy.reply();
    expect([reply?.status, reply?.headers["connection"]]).toEqual([200, "close"]);
    await busy.ended();
    silent.socket.destroy();
    await closed;
  });

  test("what does not end in time is cut, and closing twice is closing once", async () => {
    const { options, asked } = waiting();
    const { port, server } = await serve({ ...options, drainMs: 50 });
    using busy = await RawClient.open({ port, tls });
    await busy.send(GET);
    await asked;
    const shaking = connectTcp({ host: "127.0.0.1", port });
    shaking.on("error", () => undefined);
    await new Promise((resolve) => shaking.once("connect", resolve));
    await Promise.all([server[Symbol.asyncDispose](), server[Symbol.asyncDispose]()]);
    expect(await busy.reply()).toBeUndefined();
    shaking.destroy();
  });
});

test("fetching with an ordinary client works, kept alive", async () => {
  const { port } = await serve();
  const { Agent } = await import("node:https");
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: Buffer.from(identity.certificates) });
  const statusOf = (): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const request = httpsRequest({ host: "127.0.0.1", port, path: "/v1/sys/health", agent }, (response) => {
        response.resume().once("end", () => resolve(response.statusCode));
      });
      request.once("error", reject).end();
    });
  expect([await statusOf(), await statusOf()]).toEqual([200, 200]);
  agent.destroy();
});
