import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { anHttpsVault, anHttpVault, type HttpVault } from "./testing/an-http-vault.js";
import { RawClient, type RawReply, rawRequest, type RawTarget } from "./testing/raw-client.js";
import { tlsIdentity } from "./testing/tls-identity.js";

let plain: HttpVault;
let secure: HttpVault;
beforeAll(async () => {
  plain = await anHttpVault();
  secure = await anHttpsVault(tlsIdentity());
});
afterAll(async () => {
  await plain[Symbol.asyncDispose]();
  await secure[Symbol.asyncDispose]();
});

const targets: readonly { readonly name: string; readonly target: () => RawTarget }[] = [
  { name: "http", target: () => ({ port: plain.port }) },
  { name: "https", target: () => ({ port: secure.port, tls: {} }) },
];

const GET = "GET /v1/echo/open/x HTTP/1.1\r\nhost: x\r\n\r\n";
const LIST = "LIST /v1/echo/open/x HTTP/1.1\r\nhost: x\r\n\r\n";
const SCAN = "SCAN /v1/echo/open/x HTTP/1.1\r\nhost: x\r\n\r\n";
const post = (body: string): string =>
  `POST /v1/echo/open/x HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n${body}`;

function asked(reply: RawReply | undefined): unknown {
  return (JSON.parse(reply?.body ?? "null") as { data?: { asked?: unknown } } | null)?.data?.asked;
}

describe.each(targets)("over $name", ({ target }) => {
  test("LIST after GET on one kept-alive connection, and GET after LIST", async () => {
    using client = await RawClient.open(target());
    const seen: unknown[] = [];
    for (const request of [GET, LIST, GET, SCAN, LIST, post("{}"), LIST]) {
      await client.send(request);
      seen.push(asked(await client.reply()));
    }
    expect(seen).toEqual(["read", "list", "read", "scan", "list", "update", "list"]);
  });

  test("LIST as the very first bytes, one byte at a time", async () => {
    using client = await RawClient.open(target());
    for (const byte of LIST) await client.send(byte);
    expect(asked(await client.reply())).toBe("list");
  });

  test.each([1, 2, 3, 4, 5, 6, 20])("LIST cut after %i bytes", async (at) => {
    using client = await RawClient.open(target());
    await client.send(GET);
    await client.reply();
    await client.send(LIST.slice(0, at));
    await client.send(LIST.slice(at));
    expect(asked(await client.reply())).toBe("list");
  });

  test("a body that begins with LIST stays as it is, in its own chunk too", async () => {
    using client = await RawClient.open(target());
    const head = `POST /v1/echo/open/x HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\n`;
    const body = "LIST =SCAN ";
    await client.send(`${head}content-length: ${body.length}\r\n\r\n`);
    await client.send(body);
    const reply = await client.reply();
    expect(JSON.parse(reply?.body ?? "")).toMatchObject({ data: { sent: { "LIST ": "SCAN " } } });
    await client.send(LIST);
    expect(asked(await client.reply())).toBe("list");
  });

  test("a header that is continued in a chunk that begins with LIST stays as it is", async () => {
    using client = await RawClient.open(target());
    await client.send("GET /v1/echo/open/x?a=");
    await client.send("LIST HTTP/1.1\r\nhost: x\r\n\r\n");
    expect(JSON.parse((await client.reply())?.body ?? "")).toMatchObject({ data: { sent: { a: "LIST" } } });
    await client.send("POST /v1/echo/open/x HTTP/1.1\r\nhost: x\r\ncontent-type: ");
    await client.send("LIST x\r\ncontent-length: 2\r\n\r\n{}");
    expect((await client.reply())?.status).toBe(200);
  });

  test.each([
    "LIST /v1/echo/keys",
    "LIST /v1/echo/keys/",
    "GET /v1/echo/keys?list=true",
    "GET /v1/echo/keys?list=1",
    "GET /v1/echo/keys/?list=true",
  ])("%s lists", async (line) => {
    const [method = "", path = ""] = line.split(" ");
    expect(JSON.parse((await rawRequest(target(), { method, path })).body)).toMatchObject({
      data: { keys: ["a", "b/"], sent: {} },
    });
  });

  test("LIST passes its query on as fields", async () => {
    const reply = await rawRequest(target(), { method: "LIST", path: "/v1/echo/keys?after=a&limit=2" });
    expect(JSON.parse(reply.body)).toMatchObject({ data: { sent: { after: "a", limit: "2" } } });
  });

  test.each([
    "LISTEN / HTTP/1.1\r\n\r\n",
    "LIST",
    "LIST  HTTP/1.1\r\n\r\n",
    "list /v1/echo/keys HTTP/1.1\r\n\r\n",
  ])("%j is no request", async (bytes) => {
    using client = await RawClient.open(target());
    await client.send(bytes);
    client.socket.end();
    const { status, body } = (await client.reply()) ?? { status: 400, body: '{"errors":["ended"]}' };
    expect([status, JSON.parse(body)]).toEqual([400, { errors: [expect.any(String)] }]);
  });

  test("a LIST that is pipelined behind another request is refused with an answer, and nothing is done twice", async () => {
    using client = await RawClient.open(target());
    await client.send(GET + LIST);
    const replies = [await client.reply(), await client.reply()];
    expect(replies.map((reply) => reply?.status ?? "ended")).toEqual([expect.anything(), expect.anything()]);
    expect(asked(replies[0]) === "read" || replies[0]?.status === 400).toBe(true);
    await client.ended();
  });
});

test("however the bytes of several requests are cut, the same is asked", async () => {
  const kinds = [
    { bytes: GET, is: "read" },
    { bytes: LIST, is: "list" },
    { bytes: SCAN, is: "scan" },
    { bytes: post('{"a":"LIST SCAN "}'), is: "update" },
    { bytes: post("{}  LIST "), is: undefined },
  ];
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom(...kinds), { minLength: 1, maxLength: 4 }),
      fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 20 }),
      async (requests, cuts) => {
        using client = await RawClient.open({ port: plain.port });
        for (const { bytes, is } of requests) {
          let rest = bytes;
          for (const cut of cuts) {
            if (rest === "") break;
            await client.send(rest.slice(0, cut));
            rest = rest.slice(cut);
          }
          if (rest !== "") await client.send(rest);
          expect(asked(await client.reply())).toBe(is);
        }
      },
    ),
    { numRuns: 60 },
  );
});
