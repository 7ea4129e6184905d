import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { anHttpVault, type HttpVault } from "./testing/an-http-vault.js";
import { type RawReply, RawClient, rawRequest } from "./testing/raw-client.js";

let server: HttpVault;
let token: string;
beforeAll(async () => {
  server = await anHttpVault();
  token = server.rootToken;
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

type Ask = Parameters<typeof rawRequest>[1];
const ask = (request: Ask | string): Promise<RawReply> =>
  rawRequest(server, typeof request === "string" ? { path: request } : request);
const json = (reply: RawReply): unknown => JSON.parse(reply.body);
const as = (secret: string): Record<string, string> => ({ "x-vault-token": secret });

describe("answers", () => {
  test("an answer with data is an envelope with every member", async () => {
    const reply = await ask("/v1/echo/open/x");
    expect(reply).toMatchObject({
      status: 200,
      headers: { "content-type": "application/json", "cache-control": "no-store" },
    });
    expect(json(reply)).toEqual({
      request_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      lease_id: "",
      renewable: false,
      lease_duration: 0,
      data: expect.any(Object),
      wrap_info: null,
      warnings: null,
      auth: null,
    });
  });

  test.each([
    { method: "GET", path: "nothing", status: 404, body: '{"errors":[]}' },
    { method: "LIST", path: "nothing", status: 404, body: '{"errors":[]}' },
    { method: "LIST", path: "empty", status: 404, body: '{"errors":[]}' },
    { method: "POST", path: "nothing", status: 204, body: "" },
    { method: "PUT", path: "nothing", status: 204, body: "" },
    { method: "DELETE", path: "nothing", status: 204, body: "" },
    { method: "GET", path: "bare", status: 200, body: '{"a":1}' },
    { method: "GET", path: "raw-empty", status: 204, body: "" },
  ])("$method of $path is $status $body", async ({ method, path, status, body }) => {
    const reply = await ask({ method, path: `/v1/echo/${path}` });
    expect([reply.status, reply.body]).toEqual([status, body]);
    expect(reply.headers["cache-control"]).toBe("no-store");
    expect(reply.headers["content-type"]).toBe(body === "" ? undefined : "application/json");
  });

  test("repeated data stands in both places and hides nothing of the envelope", async () => {
    expect(json(await ask("/v1/echo/repeated"))).toMatchObject({
      a: 1,
      lease_id: "",
      data: { a: 1, lease_id: "mine" },
    });
  });

  test("warnings alone are an answer", async () => {
    const reply = await ask({ method: "POST", path: "/v1/echo/warned" });
    expect([reply.status, json(reply)]).toEqual([
      200,
      expect.objectContaining({ warnings: ["careful"], data: null }),
    ]);
  });

  test("a path's own status is kept, with its data", async () => {
    const reply = await ask("/v1/echo/deleted");
    expect([reply.status, json(reply)]).toEqual([404, expect.objectContaining({ data: { data: null } })]);
  });

  test("a document has its own type, HEAD its length alone, and 304 nothing", async () => {
    const reply = await ask("/v1/echo/raw");
    expect(reply.headers).toMatchObject({
      "content-type": "application/pkix-crl",
      "content-length": "3",
      "last-modified": "Sat, 21 Nov 2026 12:00:00 GMT",
    });
    expect(Buffer.from(reply.body)).toEqual(Buffer.from([1, 2, 3]));
    const head = await ask({ method: "HEAD", path: "/v1/echo/raw" });
    expect([head.status, head.headers["content-length"], head.body]).toEqual([200, "3", ""]);
  });

  test.each([
    { since: "Sat, 21 Nov 2026 12:00:00 GMT", status: 304 },
    { since: "Sat, 21 Nov 2026 12:00:01 GMT", status: 304 },
    { since: "Sat, 21 Nov 2026 11:59:59 GMT", status: 200 },
    { since: "yesterday", status: 200 },
  ])("If-Modified-Since $since is $status", async ({ since, status }) => {
    const reply = await ask({ path: "/v1/echo/raw", headers: { "if-modified-since": since } });
    expect([reply.status, reply.body.length]).toEqual([status, status === 304 ? 0 : 3]);
  });

  test("If-Modified-Since means nothing to an answer without a date", async () => {
    const headers = { "if-modified-since": "Sat, 21 Nov 2026 12:00:00 GMT" };
    expect((await ask({ path: "/v1/echo/bare", headers })).status).toBe(200);
  });
});

describe("errors", () => {
  test.each([
    { code: "INPUT_INVALID", status: 400 },
    { code: "ALREADY_EXISTS", status: 400 },
    { code: "CONFLICT", status: 400 },
    { code: "ROLE_REFUSED", status: 400 },
    { code: "CSR_INVALID", status: 400 },
    { code: "JOIN_TOKEN_USED", status: 403 },
    { code: "NOT_FOUND", status: 404 },
    { code: "UNSUPPORTED", status: 405 },
    { code: "BUSY", status: 429 },
    { code: "AUDIT_UNWRITABLE", status: 500 },
    { code: "STORAGE_FULL", status: 500 },
    { code: "UNREACHABLE", status: 502 },
    { code: "UNAVAILABLE", status: 503 },
  ])("$code is $status, with its message and its hint", async ({ code, status }) => {
    const reply = await ask(`/v1/echo/fail/${code}`);
    expect([reply.status, json(reply)]).toEqual([
      status,
      {
        errors: ["what failed", "hint: Do better."],
        error: { code, message: "what failed", suggestion: "Do better.", retryable: expect.any(Boolean) },
      },
    ]);
  });

  test.each([
    { code: "PERMISSION_DENIED", status: 403, errors: ["permission denied"] },
    { code: "VAULT_SEALED", status: 503, errors: ["Vault is sealed"] },
  ])("$code says what clients look for and nothing else", async ({ code, status, errors }) => {
    const reply = await ask(`/v1/echo/fail/${code}`);
    expect([reply.status, json(reply)]).toEqual([status, expect.objectContaining({ errors })]);
  });

  test("what broke inside stays inside", async () => {
    const reply = await ask("/v1/echo/fail/crash");
    expect(reply.status).toBe(500);
    expect(reply.body).not.toContain("secret");
  });

  test.each([
    { name: "an unknown mount without a token", method: "GET", path: "/v1/none/x", headers: {}, status: 403 },
    { name: "an unknown mount", method: "GET", path: "/v1/none/x", headers: "root", status: 404 },
    {
      name: "a verb that a path has not",
      method: "DELETE",
      path: "/v1/echo/read-only",
      headers: "root",
      status: 405,
    },
    {
      name: "a method that no path has",
      method: "OPTIONS",
      path: "/v1/echo/open/x",
      headers: "root",
      status: 405,
    },
    { name: "TRACE", method: "TRACE", path: "/v1/echo/open/x", headers: "root", status: 405 },
    { name: "another API", method: "GET", path: "/v2/x", headers: "root", status: 404 },
    { name: "the root", method: "GET", path: "/", headers: {}, status: 404 },
    { name: "no path", method: "GET", path: "/v1/", headers: "root", status: 400 },
    { name: "an escaped slash", method: "GET", path: "/v1/echo/guarded%2fx", headers: "root", status: 400 },
    { name: "an empty segment", method: "GET", path: "/v1/echo//open/x", headers: "root", status: 400 },
    { name: "dots", method: "GET", path: "/v1/echo/open/../guarded/x", headers: {}, status: 400 },
    { name: "escaped dots", method: "GET", path: "/v1/echo/open/%2e%2E/guarded/x", headers: {}, status: 400 },
    { name: "a control character", method: "GET", path: "/v1/echo/open/%0a", headers: {}, status: 400 },
    { name: "a zero", method: "GET", path: "/v1/echo/open/%00", headers: {}, status: 400 },
    { name: "what does not decode", method: "GET", path: "/v1/echo/open/%ff", headers: {}, status: 400 },
    {
      name: "a long path",
      method: "GET",
      path: `/v1/echo/open/${"x".repeat(600)}`,
      headers: {},
      status: 400,
    },
    {
      name: "a body that is no object",
      method: "POST",
      path: "/v1/echo/open/x",
      headers: {},
      body: "[1]",
      status: 400,
    },
  ])("$name is $status", async ({ method, path, headers, status, body }) => {
    const sent = headers === "root" ? as(token) : headers;
    const reply = await ask({
      method,
      path,
      headers: sent,
      ...(body === undefined ? {} : { body }),
    });
    expect([reply.status, json(reply)]).toEqual([
      status,
      expect.objectContaining({ errors: expect.any(Array) }),
    ]);
    expect(reply.headers["content-type"]).toBe("application/json");
  });

  test.each([
    "/v1/echo/open/../guarded/x",
    "/v1/echo/open/%2e%2e/guarded/x",
    "/v1/echo/%67uarded/x",
    "/v1/echo//guarded/x",
    "/v1//echo/guarded/x",
    "//v1/echo/guarded/x",
    "/v1/./echo/guarded/x",
    "/v1/echo/guarded/x/",
    "/v1/echo/guarded%2fx",
    "/%76%31/echo/guarded/x",
    "/v1/echo/guarded/x?token=x",
    "/v1/echo/guarded/x%23",
    "/v1/echo/open%2f..%2fguarded/x",
    "http://x/v1/echo/guarded/x",
  ])("no spelling of a guarded path goes around its policies: %s", async (path) => {
    for (const method of ["GET", "HEAD", "LIST", "POST", "DELETE"]) {
      const { status } = await ask({ method, path });
      expect([400, 403, 404, 405]).toContain(status);
    }
  });
});

describe("requests", () => {
  const sentTo = async (request: Ask): Promise<unknown> => {
    const reply = await ask(request);
    return reply.status === 200 ? (json(reply) as { data: unknown }).data : reply.status;
  };

  test.each([
    { method: "GET", asked: "read" },
    { method: "POST", asked: "update" },
    { method: "PUT", asked: "update" },
    { method: "DELETE", asked: "delete" },
    { method: "LIST", asked: "list" },
    { method: "SCAN", asked: "scan" },
  ])("$method asks for $asked, without a body and without a type", async ({ method, asked }) => {
    expect(await sentTo({ method, path: "/v1/echo/open/x" })).toMatchObject({ asked, sent: {} });
  });

  test.each([
    { type: "application/x-www-form-urlencoded" },
    { type: "application/json" },
    { type: "application/json; charset=utf-8" },
    { type: "text/plain" },
    { type: "garbage" },
    { type: "a/b/c; d" },
    { type: "" },
  ])("an object called $type is read", async ({ type }) => {
    const headers = { "content-type": type };
    for (const method of ["POST", "PUT"]) {
      expect(await sentTo({ method, path: "/v1/echo/open/x", headers, body: '{"a":[1]}' })).toMatchObject({
        sent: { a: [1] },
      });
    }
  });

  test.each(["PUT", "POST", "DELETE"])("%s with an empty body of some type is fine", async (method) => {
    for (const type of ["application/json", "application/x-www-form-urlencoded", "x"]) {
      const headers = { "content-type": type, "content-length": "0" };
      expect((await ask({ method, path: "/v1/echo/nothing", headers })).status).toBe(204);
    }
  });

  test("a body in chunks is read", async () => {
    using client = await RawClient.open(server);
    await client.send("POST /v1/echo/open/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    await client.send('4\r\n{"a"\r\n');
    await client.send("3\r\n:1}\r\n0\r\n\r\n");
    expect(JSON.parse((await client.reply())?.body ?? "")).toMatchObject({ data: { sent: { a: 1 } } });
  });

  test.each([
    {
      type: "application/merge-patch+json",
      status: 200,
      says: { data: { asked: "patch", sent: { a: null } } },
    },
    { type: "Application/Merge-Patch+JSON; charset=utf-8", status: 200, says: { data: { asked: "patch" } } },
    { type: "application/json", status: 415, says: { errors: [expect.any(String)] } },
    { type: "application/x-www-form-urlencoded", status: 415, says: { errors: [expect.any(String)] } },
  ])("PATCH called $type is $status", async ({ type, status, says }) => {
    const reply = await ask({
      method: "PATCH",
      path: "/v1/echo/open/x",
      headers: { "content-type": type },
      body: '{"a":null}',
    });
    expect(reply.status).toBe(status);
    expect(json(reply)).toMatchObject(says);
  });

  test.each([
    { name: "X-Vault-Token", headers: (secret: string) => as(secret) },
    { name: "Authorization", headers: (secret: string) => ({ authorization: `Bearer ${secret}` }) },
    { name: "bearer in lower case", headers: (secret: string) => ({ authorization: `bearer ${secret}` }) },
    { name: "X-RustyVault-Token", headers: (secret: string) => ({ "x-rustyvault-token": secret }) },
    { name: "X-Auth-Token", headers: (secret: string) => ({ "x-auth-token": secret }) },
    {
      name: "the first of two",
      headers: (secret: string) => ({ ...as(secret), authorization: "Bearer wrong" }),
    },
    {
      name: "the second when the first is empty",
      headers: (secret: string) => ({ ...as(""), authorization: `Bearer ${secret}` }),
    },
  ])("the token is taken from $name", async ({ headers }) => {
    expect(await sentTo({ path: "/v1/echo/guarded/x", headers: headers(token) })).toMatchObject({
      by: "root",
    });
    expect(await sentTo({ path: "/v1/echo/guarded/x", headers: headers("wrong") })).toBe(403);
  });

  test.each([
    { headers: {} },
    { headers: { ...as("wrong"), authorization: "Bearer right" } },
    { headers: { authorization: "Basic x" } },
  ])("no token, or a wrong first one, is 403", async ({ headers }) => {
    expect(await sentTo({ path: "/v1/echo/guarded/x", headers })).toBe(403);
  });

  test.each([
    { namespace: "", status: 200 },
    { namespace: "/", status: 200 },
    { namespace: "root", status: 200 },
    { namespace: "ns1", status: 400 },
  ])("namespace $namespace is $status", async ({ namespace, status }) => {
    expect(
      (
        await ask({
          path: "/v1/echo/open/x",
          headers: { "x-vault-namespace": namespace, "x-vault-request": "true" },
        })
      ).status,
    ).toBe(status);
  });

  test.each(["abc", "-1", "1.5", "99999999999", "1h30", "60 s"])(
    "wrapping for %j is refused",
    async (ttl) => {
      expect((await ask({ path: "/v1/echo/open/x", headers: { "x-vault-wrap-ttl": ttl } })).status).toBe(400);
    },
  );

  test("a query becomes fields, what chooses the operation does not", async () => {
    expect(await sentTo({ path: "/v1/echo/open/x?a=1&a=2&list=false&b=%2F" })).toMatchObject({
      asked: "read",
      sent: { a: ["1", "2"], b: "/" },
    });
    expect(await sentTo({ path: "/v1/echo/open/x?list=true&after=q" })).toMatchObject({
      asked: "list",
      sent: { after: "q" },
    });
    expect(await sentTo({ path: "/v1/echo/open/x?scan=1" })).toMatchObject({ asked: "scan", sent: {} });
  });

  test("a query of a write is none of its fields", async () => {
    expect(await sentTo({ method: "POST", path: "/v1/echo/open/x?a=1", body: "{}" })).toMatchObject({
      sent: {},
    });
  });

  test("an OCSP request comes as bytes, in a body and in a path", async () => {
    const request = Buffer.from("3003fffffe", "hex");
    const headers = { "content-type": "application/ocsp-request" };
    expect(await sentTo({ method: "POST", path: "/v1/echo/ocsp", headers, body: request })).toMatchObject({
      sent: { bytes: "3003fffffe" },
    });
    for (const text of [request.toString("base64"), encodeURIComponent(request.toString("base64"))]) {
      expect(await sentTo({ path: `/v1/echo/ocsp/${text}` })).toMatchObject({
        parameters: { request: "MAP___4" },
      });
    }
  });
});

describe("the vault's own paths", () => {
  test.each([
    { query: "", status: 200 },
    { query: "?activecode=299", status: 299 },
    {
      query: "?standbyok=true&sealedcode=299&uninitcode=299&drsecondarycode=299&performancestandbycode=299",
      status: 200,
    },
    { query: "?activecode=100", status: 400 },
    { query: "?activecode=x", status: 400 },
  ])("health$query of an open vault is $status", async ({ query, status }) => {
    expect((await ask(`/v1/sys/health${query}`)).status).toBe(status);
    const head = await ask({ method: "HEAD", path: `/v1/sys/health${query}` });
    expect([head.status, head.body]).toEqual([status, ""]);
  });

  test("seal-status says what clients read", async () => {
    expect(json(await ask("/v1/sys/seal-status"))).toEqual({
      type: "shamir",
      initialized: true,
      sealed: false,
      t: 1,
      n: 1,
      progress: 0,
      nonce: "",
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      build_date: expect.any(String),
      migration: false,
      recovery_seal: false,
      storage_type: "memory",
      cluster_name: "test",
      cluster_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
  });

  test.each(["/healthz", "/livez", "/readyz"])("%s is for whoever asks", async (path) => {
    expect(await ask(path)).toMatchObject({ status: 200, body: '{"status":"ok"}' });
    expect(await ask({ method: "HEAD", path })).toMatchObject({ status: 200, body: "" });
    expect((await ask({ method: "POST", path, body: "{}" })).status).toBe(404);
  });

  test("metrics need a token here", async () => {
    expect((await ask("/metrics")).status).toBe(403);
  });
});

test("requests that are written at once are answered in their order", async () => {
  using client = await RawClient.open(server);
  const request = (i: number): string => `GET /v1/echo/open/${i} HTTP/1.1\r\nhost: x\r\n\r\n`;
  await client.send(Array.from({ length: 50 }, (_, i) => request(i)).join(""));
  for (let i = 0; i < 50; i += 1) {
    expect(JSON.parse((await client.reply())?.body ?? "")).toMatchObject({ data: { path: `open/${i}` } });
  }
});
