import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { connect as connectTcp, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { Cluster } from "./harness/cluster.js";
import { suiteThatNeeds } from "./harness/needs.js";
import { SmallDisk } from "./harness/small-disk.js";
import { type VaultApi, vaultApi } from "./harness/vault-api.js";
import { type Wire, wireTo } from "./harness/wire.js";

let cluster: Cluster;
let root: VaultApi;
let wire: Wire;
beforeAll(async () => {
  cluster = await Cluster.start({ tls_config: { vault_folder: "./data", keep_dangerous_files: true } });
  root = await vaultApi(cluster);
  wire = await wireTo(cluster, { localAddress: "127.0.0.1" });
  await root.write("sys/mounts/pki", { type: "pki" });
  await root.write("pki/root/generate/internal", { common_name: "besieged root", key_type: "ec" });
  await root.write("pki/roles/web", { allow_any_name: true, key_type: "ec", ttl: "1h" });
});
afterAll(async () => {
  wire?.[Symbol.dispose]();
  await cluster?.[Symbol.asyncDispose]();
});

/** What one address may have open at once, and some more. */
const CONNECTIONS = 600;
const SERVED_WITHIN_MS = 5_000;

const port = (): number => Number(new URL(cluster.httpAddress).port);

/** A connection that nobody reads an answer from in order; its end is no error. */
function attacker(localAddress: string): Socket {
  const socket = connectTcp({ host: "127.0.0.1", port: port(), localAddress });
  return socket.on("error", () => undefined).resume();
}

async function secureAttacker(localAddress: string): Promise<Socket> {
  const options: ConnectionOptions = { socket: attacker(localAddress), rejectUnauthorized: false };
  const socket = connectTls(options);
  socket.on("error", () => undefined);
  await once(socket, "secureConnect");
  return socket;
}

/** All that a connection says until it ends. */
async function lastWords(socket: Socket): Promise<string> {
  let said = "";
  socket.on("data", (chunk: Buffer) => (said += chunk.toString("latin1")));
  if (!socket.closed) await new Promise<void>((resolve) => socket.once("close", () => resolve()));
  return said;
}

/** Others get their answers, and soon. */
async function expectService(): Promise<void> {
  const started = performance.now();
  const body = JSON.stringify({ common_name: "www.example.com" });
  const asked = Array.from({ length: 10 }, () => [
    wire.send({ method: "GET", path: "/v1/sys/health" }),
    wire.send({ method: "POST", path: "/v1/pki/issue/web", token: root.token, body }),
  ]);
  const replies = await Promise.all(asked.flat());
  expect(replies.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 200));
  expect(performance.now() - started).toBeLessThan(SERVED_WITHIN_MS);
}

describe("clients who mean harm, from addresses of their own", () => {
  test("who says nothing gets no more than its share of connections, and those are cut", async () => {
    const silent = Array.from({ length: CONNECTIONS }, () => attacker("127.0.0.2"));
    const closed = Promise.all(silent.map(lastWords));
    await expectService();
    expect(new Set(await closed)).toEqual(new Set([""]));
    await expectService();
  });

  test("who says its request a little at a time is cut, in the header as in the body", async () => {
    const begun = [
      "GET /v1/sys/health HTTP/1.1\r\nhost: x\r\n",
      "LIST /v1/sys/po",
      "POST /v1/sys/unseal HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n",
    ];
    const slow = await Promise.all(Array.from({ length: 60 }, () => secureAttacker("127.0.0.3")));
    for (const [index, socket] of slow.entries()) socket.write(begun[index % begun.length] ?? "");
    const drip = setInterval(() => {
      for (const socket of slow) if (socket.writable) socket.write("x");
    }, 500);
    const ended = Promise.all(slow.map(lastWords));
    await expectService();
    const answers = await ended;
    clearInterval(drip);
    expect(answers.filter((said) => !/^(HTTP\/1\.1 40[08] |$)/.test(said))).toEqual([]);
    await expectService();
  });

  const MANY_BYTES = 50_000;
  const errors = z.object({ errors: z.array(z.string()).min(1) });
  const FLOODS = [
    {
      name: "one header of 1 MB",
      bytes: `GET / HTTP/1.1\r\nhost: x\r\nx: ${"x".repeat(1_000_000)}\r\n\r\n`,
      status: 431,
    },
    {
      name: "50,000 headers",
      bytes: `GET / HTTP/1.1\r\nhost: x\r\n${"a: b\r\n".repeat(50_000)}\r\n`,
      status: 431,
    },
    {
      name: "a URL of 100 KB",
      bytes: `GET /v1/${"x".repeat(100_000)} HTTP/1.1\r\nhost: x\r\n\r\n`,
      status: 431,
    },
    {
      name: "a token of 100 KB",
      bytes: `GET /v1/sys/mounts HTTP/1.1\r\nhost: x\r\nx-vault-token: ${"x".repeat(100_000)}\r\n\r\n`,
      status: 431,
    },
    {
      name: "a body that announces 1 GB",
      bytes: "POST /v1/sys/unseal HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n",
      status: 413,
    },
    {
      name: "a chunk that announces 1 GB",
      bytes: `POST /v1/sys/unseal HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3B9ACA00\r\n${"x".repeat(40_000_000)}`,
      status: 413,
    },
    {
      name: "two lengths",
      bytes: "POST /v1/sys/unseal HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
      status: 400,
    },
    {
      name: "a length beside chunks",
      bytes:
        "POST /v1/sys/unseal HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}",
      status: 400,
    },
    { name: "no HTTP", bytes: "\u0016\u0003\u0001 hello\r\n\r\n", status: 400 },
  ];
  test.each(FLOODS)("$name is $status and the end of the connection", async ({ bytes, status }) => {
    const flood = await secureAttacker("127.0.0.4");
    const answer = lastWords(flood);
    flood.write(bytes);
    await expectService();
    const said = await answer;
    // Whoever still sends when it is cut may lose the answer to it.
    const isHeard = bytes.length < MANY_BYTES || said !== "";
    expect(said.slice(0, 13)).toBe(isHeard ? `HTTP/1.1 ${status} ` : "");
    const body: unknown = JSON.parse(isHeard ? said.slice(said.indexOf("\r\n\r\n")) : '{"errors":[""]}');
    expect(errors.safeParse(body).success).toBe(true);
  });

  test("plain HTTP gets no answer and a closed connection", async () => {
    const plain = attacker("127.0.0.5");
    const answer = lastWords(plain);
    plain.write("GET /v1/sys/health HTTP/1.1\r\nhost: x\r\n\r\n");
    expect(await answer).toBe("");
  });
});

suiteThatNeeds(["linux", "root"], "an audit device", () => {
  test("that is full lets nothing be done and nothing be known, until there is space", async () => {
    const folder = await mkdtemp(join(tmpdir(), "rk8s-audit-"));
    await using disk = await SmallDisk.mount(folder, "tmpfs");
    const file = join(disk.path, "audit.log");
    await root.write("sys/audit/small", { type: "file", options: { file_path: file } });
    const issue = async (): Promise<number> =>
      (await root.ask({ method: "POST", path: "pki/issue/web", body: { common_name: "a.example.com" } }))
        .status;
    const stored = async (): Promise<number> =>
      z.array(z.string()).parse((await root.read("pki/certs?list=true"))["keys"]).length;
    const before = await stored();
    expect(await issue()).toBe(200);

    await disk.fill();
    const statuses = [200];
    for (let asked = 0; asked < 30; asked++) statuses.push(await issue());
    const told = statuses.filter((status) => status === 200).length;
    expect(new Set(statuses)).toEqual(new Set([200, 500]));
    expect(statuses.slice(-20)).toEqual(Array.from({ length: 20 }, () => 500));
    for (const call of [
      { method: "GET", path: "sys/mounts" },
      { method: "POST", path: "auth/token/create", body: {} },
      { method: "DELETE", path: "pki/root" },
      { method: "GET", path: "pki/ca/pem" },
    ] as const) {
      const { status, text } = await root.ask(call);
      expect({ call, status }).toEqual({ call, status: 500 });
      expect(text).not.toContain("BEGIN");
    }
    expect((await wire.send({ method: "GET", path: "/livez" })).status).toBe(200);

    await disk.free();

    const lines = (await readFile(file, "utf8"))
      .split("\n")
      .filter((line) => line.includes('"path":"pki/issue/web"'));
    const requests = lines.filter((line) => line.includes('"type":"request"')).length;
    const afterwards = await stored();
    // What has its line is done; of that, what has none for its answer was not handed out.
    expect(afterwards - before).toBeGreaterThanOrEqual(told);
    expect(afterwards - before).toBeLessThanOrEqual(requests);
    expect(await issue()).toBe(200);
    expect(await stored()).toBe(afterwards + 1);
    expect((await root.ask({ method: "DELETE", path: "sys/audit/small" })).status).toBe(204);
    await rm(folder, { recursive: true, force: true }).catch(() => undefined);
  });
});
