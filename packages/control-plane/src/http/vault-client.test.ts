import { once } from "node:events";
import { createServer as createHttpsServer, type Server as HttpsServer } from "node:https";
import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import { mkdtemp, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Secret } from "@rk8s/protocol";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { ServerIdentity } from "./https-server.js";
import { tlsIdentity } from "./testing/tls-identity.js";
import { type VaultClient, vaultOverHttps, vaultOverSocket } from "./vault-client.js";

let identity: ServerIdentity;
let folder: string;
let server: Server | HttpsServer | undefined;
let sockets = 0;
beforeAll(() => {
  identity = tlsIdentity();
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-client-"));
});
afterEach(async () => {
  server?.closeAllConnections();
  server?.close();
  await rm(folder, { recursive: true });
});

/** A client of a server that answers so. */
async function onSocket(answer: RequestListener, timeoutMs?: number): Promise<VaultClient> {
  server?.closeAllConnections();
  server?.close();
  const path = join(folder, String((sockets += 1)));
  server = createServer(answer).listen(path);
  await once(server, "listening");
  return vaultOverSocket(path, { timeoutMs, token: new Secret("hvs.t"), namespace: "root" });
}

async function listenTls(answer: RequestListener, options: object = {}): Promise<string> {
  const { certificates: cert, privateKey: key } = identity;
  server = createHttpsServer({ cert: Buffer.from(cert), key: Buffer.from(key), ...options }, answer);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const says =
  (status: number, body: unknown, type = "application/json"): RequestListener =>
  (_request, response) => {
    response.writeHead(status, { "content-type": type });
    response.end(typeof body === "string" ? body : JSON.stringify(body));
  };

const read = { method: "GET", path: "a/b" } as const;

describe("a request", () => {
  async function seen(call: Parameters<VaultClient["ask"]>[0]): Promise<IncomingMessage & { body: string }> {
    let request: (IncomingMessage & { body: string }) | undefined;
    const client = await onSocket((incoming, response) => {
      let body = "";
      incoming.on("data", (chunk: Buffer) => (body += chunk.toString()));
      incoming.on("end", () => {
        request = Object.assign(incoming, { body });
        response.writeHead(204).end();
      });
    });
    expect(await client.ask(call)).toEqual({ type: "done" });
    return request!;
  }

  test.each([
    {
      name: "a serial number",
      call: { method: "GET", path: "pki/cert/39:dd" } as const,
      url: "GET /v1/pki/cert/39:dd",
    },
    {
      name: "signs that mean something",
      call: { method: "GET", path: "a/b c?d#%2f" } as const,
      url: "GET /v1/a/b%20c%3Fd%23%252f",
    },
    {
      name: "a list",
      call: { method: "LIST", path: "a/", query: { after: "x y" } } as const,
      url: "GET /v1/a/?after=x+y&list=true",
    },
    {
      name: "a name twice",
      call: { method: "DELETE", path: "a", query: { v: ["1", "2"] } } as const,
      url: "DELETE /v1/a?v=1&v=2",
    },
  ])("has $name in its URL", async ({ call, url }) => {
    const request = await seen(call);
    expect(`${request.method} ${request.url}`).toBe(url);
  });

  test("has token, namespace and wrapping in its head, and fields in its body", async () => {
    const { headers, body } = await seen({ method: "POST", path: "a", body: { b: 1 }, wrapTtl: "60s" });
    expect(headers).toMatchObject({
      "x-vault-token": "hvs.t",
      "x-vault-namespace": "root",
      "x-vault-wrap-ttl": "60s",
      "x-vault-request": "true",
      "content-type": "application/json",
    });
    expect(body).toBe('{"b":1}');
    expect((await seen({ method: "PATCH", path: "a", body: {} })).headers["content-type"]).toBe(
      "application/merge-patch+json",
    );
  });
});

describe("an answer", () => {
  test.each([
    {
      name: "an envelope",
      answer: says(200, { data: { a: 1 } }),
      reply: { type: "document", document: { data: { a: 1 } } },
    },
    { name: "nothing there", answer: says(404, { errors: [] }), reply: { type: "nothing" } },
    {
      name: "a deleted version",
      answer: says(404, { data: { data: null } }),
      reply: { type: "document", document: { data: { data: null } } },
    },
    {
      name: "PEM",
      answer: says(200, "-----", "application/x-pem-file"),
      reply: { type: "raw", contentType: "application/x-pem-file", bytes: Buffer.from("-----") },
    },
  ])("is told apart: $name", async ({ answer, reply }) => {
    expect(await (await onSocket(answer)).ask(read)).toEqual(reply);
  });

  test.each([
    {
      name: "400",
      answer: says(400, { errors: ["bad role"] }),
      code: "INPUT_INVALID",
      exit: 65,
      text: "bad role",
    },
    {
      name: "403",
      answer: says(403, { errors: ["permission denied"] }),
      code: "PERMISSION_DENIED",
      exit: 77,
      text: "permission denied",
    },
    {
      name: "404 with a reason",
      answer: says(404, { errors: ["no handler"] }),
      code: "NOT_FOUND",
      exit: 65,
      text: "no handler",
    },
    { name: "429", answer: says(429, { errors: ["slow down"] }), code: "BUSY", exit: 75, text: "slow down" },
    {
      name: "sealed",
      answer: says(503, { errors: ["Vault is sealed"] }),
      code: "VAULT_SEALED",
      exit: 75,
      text: "sealed",
    },
    {
      name: "another 503",
      answer: says(503, { errors: [] }),
      code: "UNAVAILABLE",
      exit: 75,
      text: "HTTP status 503",
    },
    { name: "500", answer: says(500, { errors: ["1", "2"] }), code: "INTERNAL", exit: 70, text: "1; 2" },
    { name: "a redirect", answer: says(307, ""), code: "INTERNAL", exit: 70, text: "HTTP status 307" },
    {
      name: "a proxy's page",
      answer: says(200, "<html>"),
      code: "MESSAGE_INVALID",
      exit: 65,
      text: "not JSON",
    },
    {
      name: "one of ours",
      answer: says(400, {
        errors: ["x"],
        error: { code: "ROLE_REFUSED", message: "not allowed", suggestion: "Do.", retryable: false },
      }),
      code: "ROLE_REFUSED",
      exit: 77,
      text: "not allowed",
    },
    {
      name: "a code of a newer version",
      answer: says(403, {
        errors: ["permission denied"],
        error: { code: "NEWER", message: "n", retryable: false },
      }),
      code: "PERMISSION_DENIED",
      exit: 77,
      text: "permission denied",
    },
    {
      name: "one that drives a terminal",
      answer: says(400, { errors: ["\u001b[2J"] }),
      code: "INPUT_INVALID",
      exit: 65,
      text: "\uFFFD[2J",
    },
  ])("that refuses is an error: $name", async ({ answer, code, exit, text }) => {
    const client = await onSocket(answer);
    await expect(client.ask(read)).rejects.toMatchObject({
      code,
      info: { exit },
      message: expect.stringContaining(text),
    });
  });

  test("that never comes, or never ends, has a deadline", async () => {
    const silent = await onSocket(() => undefined, 50);
    await expect(silent.ask(read)).rejects.toMatchObject({ code: "TIMED_OUT", info: { exit: 69 } });
    const half = await onSocket((_request, response) => void response.writeHead(200).write("{"), 50);
    await expect(half.ask(read)).rejects.toMatchObject({ code: "TIMED_OUT" });
  });

  test("that is larger than any is not read to its end", async () => {
    const block = Buffer.alloc(1_048_576, 0x20);
    const client = await onSocket((_request, response) => {
      response.on("error", () => undefined);
      const more = (): void => {
        while (!response.destroyed && response.write(block));
      };
      response.on("drain", more);
      more();
    });
    await expect(client.ask(read)).rejects.toMatchObject({ code: "MESSAGE_TOO_LARGE" });
  });

  test("nobody answers: 69", async () => {
    await expect(vaultOverSocket(join(folder, "none")).ask(read)).rejects.toMatchObject({
      code: "UNREACHABLE",
    });
    await expect(vaultOverHttps("https://127.0.0.1:9", {}).ask(read)).rejects.toMatchObject({
      code: "UNREACHABLE",
      info: { exit: 69 },
    });
  });
});

describe("over HTTPS", () => {
  const ca = (): string => Buffer.from(identity.certificates).toString();

  test("a server is asked whose certificate the given root made", async () => {
    const address = await listenTls(says(200, { data: { a: 1 } }));
    expect(await vaultOverHttps(`${address}/`, { ca: ca() }).ask(read)).toMatchObject({ type: "document" });
  });

  test("no other is sent anything", async () => {
    let requests = 0;
    const address = await listenTls((_request, response) => {
      requests += 1;
      response.end("{}");
    });
    const other = Buffer.from(tlsIdentity("other").certificates).toString();
    const token = { token: new Secret("hvs.t") };
    await expect(vaultOverHttps(address, {}, token).ask(read)).rejects.toMatchObject({
      code: "SERVER_UNTRUSTED",
      info: { exit: 77 },
      suggestion: expect.stringContaining("VAULT_CACERT"),
    });
    await expect(vaultOverHttps(address, { ca: other }, token).ask(read)).rejects.toMatchObject({
      code: "SERVER_UNTRUSTED",
    });
    await expect(
      vaultOverHttps(address, { ca: ca(), serverName: "else" }, token).ask(read),
    ).rejects.toMatchObject({
      code: "SERVER_NAME_MISMATCH",
      info: { exit: 77 },
    });
    await expect(vaultOverHttps(address, { ca: "no PEM" }, token).ask(read)).rejects.toMatchObject({
      info: { exit: expect.any(Number) },
    });
    expect(requests).toBe(0);
  });

  test("TLS 1.1 is not spoken", async () => {
    const address = await listenTls(says(200, {}), {
      minVersion: "TLSv1",
      maxVersion: "TLSv1.1",
      ciphers: "DEFAULT@SECLEVEL=0",
    });
    await expect(vaultOverHttps(address, { ca: ca() }).ask(read)).rejects.toMatchObject({
      info: { exit: 69 },
    });
  });

  test.each(["http://127.0.0.1:8200", "127.0.0.1:8200", "", "https://u:p@h:1", "https://h/v1", "ftp://h"])(
    "%j is no address",
    (address) => {
      expect(() => vaultOverHttps(address, {})).toThrow(
        expect.objectContaining({ code: "CONFIG_INVALID" }) as Error,
      );
    },
  );
});
