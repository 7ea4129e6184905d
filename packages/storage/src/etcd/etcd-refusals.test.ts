import { createServer as createHttpServer } from "node:http";
import { createServer as createTcpServer, type Server, type Socket } from "node:net";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { promisify } from "node:util";

import * as grpc from "@grpc/grpc-js";
import { systemClock } from "@rk8s/host";
import type { Logger } from "@rk8s/protocol";
import { silentLogger } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { TestAuthority } from "../testing/etcd-certificates.js";
import { EtcdCluster, hasEtcd } from "../testing/etcd.js";
import { TcpRelay } from "../testing/tcp-relay.js";
import type { EtcdCredentials } from "./credentials.js";
import { type EtcdStorage, type EtcdStorageInit, openEtcdStorage } from "./etcd-storage.js";
import { RANGE } from "./messages.js";

/** A store that cannot answer at all is given up sooner in a test. */
const SOON = { attemptTimeoutMs: 800, operationTimeoutMs: 2400 };
/** Processes start and certificates are made on busy machines too. */
const PATIENCE = { timeout: 30_000 };

describe.skipIf(!hasEtcd())(
  "what is wrong is said with a code and the endpoint (needs etcd)",
  PATIENCE,
  () => {
    let cluster: EtcdCluster;
    let credentials: EtcdCredentials;
    let folder: string;
    let stranger: TestAuthority;

    beforeAll(async () => {
      cluster = await EtcdCluster.start();
      credentials = await cluster.credentials("rks");
      folder = await mkdtemp(join(tmpdir(), "rks-etcd-refusals-"));
      stranger = await TestAuthority.create(join(folder, "stranger"));
    }, 60_000);
    afterAll(async () => {
      await cluster[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    });

    const open = async (init: Partial<EtcdStorageInit> = {}): Promise<EtcdStorage> =>
      openEtcdStorage({
        endpoints: cluster.endpoints,
        prefix: "refusals",
        credentials,
        clock: systemClock,
        learnMembers: false,
        ...SOON,
        ...init,
      });
    const refusal = async (init: Partial<EtcdStorageInit>): Promise<unknown> => {
      try {
        await using storage = await open(init);
        return storage;
      } catch (reason) {
        return reason;
      }
    };

    test("a server that the given CA did not certify", async () => {
      const theirs = await stranger.credentials("rks");
      const reason = await refusal({ credentials: { ...credentials, ca: theirs.ca } });
      expect(reason).toMatchObject({
        code: "SERVER_UNTRUSTED",
        message: expect.stringContaining(cluster.endpoints[0] ?? "?"),
      });
    });

    test("a server whose certificate is for another host", async () => {
      await using relay = await TcpRelay.open(cluster.endpoints[0] ?? "", "127.0.0.2");
      const url = `https://${relay.address}`;
      expect(await refusal({ endpoints: [url] })).toMatchObject({
        code: "SERVER_NAME_MISMATCH",
        message: expect.stringContaining(url),
      });
    });

    test("a client certificate of another CA", async () => {
      const theirs = await stranger.credentials("rks");
      const reason = await refusal({ credentials: { ...theirs, ca: credentials.ca } });
      expect(reason).toMatchObject({ code: "CLIENT_CERTIFICATE_REFUSED" });
    });

    test("an expired client certificate, also one that expires while the store is open", async () => {
      const late = new FakeClock({ now: Date.now() + 3 * 24 * 60 * 60 * 1000 });
      expect(await refusal({ clock: late })).toMatchObject({
        code: "CERTIFICATE_EXPIRED",
        suggestion: expect.stringContaining("`rks gen xline-certs --rks NAME`"),
      });
      let aheadMs = 0;
      const clock = { ...systemClock, now: () => Date.now() + aheadMs };
      const relay = await TcpRelay.open(cluster.endpoints[0] ?? "");
      await using storage = await open({ clock, endpoints: [`https://${relay.address}`] });
      aheadMs = 3 * 24 * 60 * 60 * 1000;
      expect(await storage.get("a")).toBeUndefined();
      await relay[Symbol.asyncDispose]();
      await expect(storage.get("a")).rejects.toMatchObject({
        code: "UNAVAILABLE",
        message: expect.stringContaining('"rks" expired'),
      });
    });

    test("a key that does not belong to the certificate, and what is no certificate", async () => {
      const other = await cluster.credentials("other");
      const wrongKey = { ...credentials, privateKey: other.privateKey };
      expect(await refusal({ credentials: wrongKey })).toMatchObject({ code: "CONFIG_INVALID" });
      const noCertificate = { ...credentials, certificate: Buffer.from("none") };
      expect(await refusal({ credentials: noCertificate })).toMatchObject({ code: "CONFIG_INVALID" });
      await using storage = await open();
      await expect(storage.useCredentials(wrongKey)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
      expect(await storage.get("a")).toBeUndefined();
    });

    test("https without certificates", async () => {
      expect(await refusal({ credentials: undefined })).toMatchObject({ code: "CONFIG_INVALID" });
    });

    test("nothing that listens, at one endpoint or at all of them", async () => {
      const urls = ["https://127.0.0.1:1", "https://127.0.0.1:2"];
      const reason = await refusal({ endpoints: urls });
      expect(reason).toMatchObject({ code: "UNREACHABLE", retryable: true });
      for (const url of urls) expect(String(reason)).toContain(url);
      await using storage = await open({ endpoints: ["https://127.0.0.1:1", ...cluster.endpoints] });
      expect(await storage.get("a")).toBeUndefined();
    });

    test("members that take 2 s for everything: they are left for a quick one, and refused when there is none", async () => {
      await using slow = await TcpRelay.open(cluster.endpoints[0] ?? "");
      slow.delayMs = 1000;
      const url = `https://${slow.address}`;
      expect(await refusal({ endpoints: [url] })).toMatchObject({
        code: "TIMED_OUT",
        message: expect.stringContaining(url),
      });
      await using storage = await open({ endpoints: [url, ...cluster.endpoints] });
      const start = performance.now();
      await storage.get("a");
      expect(performance.now() - start).toBeLessThan(slow.delayMs * 2);
    });

    test("a prefix that cannot be used", async () => {
      for (const prefix of ["", "a/", "p".repeat(65)]) {
        expect(await refusal({ prefix })).toMatchObject({ code: "CONFIG_INVALID" });
      }
    });

    describe("what is not etcd", () => {
      const listen = async (server: Server): Promise<{ readonly port: number } & AsyncDisposable> => {
        const sockets = new Set<Socket>();
        server.on("connection", (socket: Socket) => sockets.add(socket));
        server.listen(0, "127.0.0.1");
        await once(server, "listening");
        const address = server.address();
        const port = address !== null && typeof address === "object" ? address.port : 0;
        return {
          port,
          async [Symbol.asyncDispose]() {
            const closed = once(server, "close");
            server.close();
            for (const socket of sockets) socket.destroy();
            await closed;
          },
        };
      };

      test("an HTTP server", async () => {
        await using server = await listen(createHttpServer((_request, response) => response.end("hello")));
        const url = `http://127.0.0.1:${server.port}`;
        expect(await refusal({ endpoints: [url] })).toMatchObject({
          code: "CONFIG_INVALID",
          message: expect.stringContaining(url),
        });
      });

      test("a server without TLS behind https", async () => {
        await using server = await listen(createHttpServer((_request, response) => response.end("hello")));
        const reason = await refusal({ endpoints: [`https://127.0.0.1:${server.port}`] });
        expect(reason).toMatchObject({ code: "CONFIG_INVALID" });
      });

      test("a TLS server that speaks no HTTP/2", async () => {
        const files = await cluster.authority?.server("plain-tls");
        if (files === undefined) throw new Error("no certificates");
        const tls = { cert: await readFile(files.certificate), key: await readFile(files.privateKey) };
        await using server = await listen(createTlsServer(tls, (socket) => socket.end("SSH-2.0-none\r\n")));
        const reason = await refusal({ endpoints: [`https://127.0.0.1:${server.port}`] });
        expect(reason).toMatchObject({ code: "CONFIG_INVALID" });
      });

      test.each([
        ["a gRPC server with other services", undefined],
        ["a gRPC server whose answers are something else", Buffer.from("ffffffffffff", "hex")],
      ])("%s", async (_name, answer) => {
        const server = new grpc.Server();
        if (answer !== undefined) {
          const same = (bytes: Buffer): Buffer => bytes;
          const method = {
            requestStream: false,
            responseStream: false,
            requestSerialize: same,
            responseSerialize: same,
          };
          const range = { ...method, path: RANGE.path, requestDeserialize: same, responseDeserialize: same };
          server.addService(
            { range },
            { range: (_call: unknown, reply: grpc.sendUnaryData<Buffer>) => reply(null, answer) },
          );
        }
        const bind = promisify(server.bindAsync.bind(server));
        const port = await bind("127.0.0.1:0", grpc.ServerCredentials.createInsecure());
        try {
          const reason = await refusal({ endpoints: [`http://127.0.0.1:${port}`] });
          expect(reason).toMatchObject({
            code: "CONFIG_INVALID",
            message: expect.stringContaining("is not etcd"),
          });
        } finally {
          server.forceShutdown();
        }
      });

      test("a listener that never says a word", async () => {
        await using server = await listen(createTcpServer());
        const url = `http://127.0.0.1:${server.port}`;
        expect(await refusal({ endpoints: [url] })).toMatchObject({
          code: "TIMED_OUT",
          message: expect.stringContaining(url),
        });
      });
    });

    test("a member that stands still: an open store says UNAVAILABLE and works again when the member does", async () => {
      await using storage = await open();
      await storage.transaction([], [{ type: "put", key: "a", value: Buffer.from("1") }]);
      const [member] = cluster.members;
      await member?.pause();
      try {
        const failures = await Promise.allSettled([
          storage.get("a"),
          storage.transaction([], [{ type: "put", key: "a", value: Buffer.from("2") }]),
        ]);
        for (const failure of failures) {
          expect(failure).toMatchObject({
            reason: { code: "UNAVAILABLE", message: expect.stringContaining(cluster.endpoints[0] ?? "?") },
          });
        }
        expect(String((failures[1] as PromiseRejectedResult).reason)).toContain("is not known");
      } finally {
        member?.resume();
      }
      await using patient = await open({ attemptTimeoutMs: undefined, operationTimeoutMs: undefined });
      const { revision } = await patient.transaction(
        [],
        [{ type: "put", key: "a", value: Buffer.from("3") }],
      );
      expect(await patient.get("a")).toMatchObject({ modRevision: revision });
      expect((await storage.transaction([{ key: "a", modRevision: revision }], [])).succeeded).toBe(true);
    });
  },
);

describe.skipIf(!hasEtcd())("without TLS (needs etcd)", () => {
  test("a member of another cluster is never used", async () => {
    await using one = await EtcdCluster.start({ tls: false });
    await using other = await EtcdCluster.start({ tls: false });
    await using relay = await TcpRelay.open(one.endpoints[0] ?? "");
    const endpoints = [`http://${relay.address}`, ...other.endpoints];
    const init = { prefix: "p", clock: systemClock, learnMembers: false, ...SOON };
    await using storage = await openEtcdStorage({ ...init, endpoints });
    await storage.transaction([], [{ type: "put", key: "token", value: Buffer.from("used") }]);
    await relay[Symbol.asyncDispose]();
    await expect(
      storage.transaction([], [{ type: "put", key: "a", value: new Uint8Array() }]),
    ).rejects.toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining("another cluster") });
    await expect(storage.get("token")).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(await other.etcdctl("get", "", "--from-key", "--keys-only")).toBe("");
  }, 60_000);

  test("what answers at the address of a member after its connection was lost is not used when it is another cluster", async () => {
    await using one = await EtcdCluster.start({ tls: false });
    await using other = await EtcdCluster.start({ tls: false });
    await using relay = await TcpRelay.open(one.endpoints[0] ?? "");
    const init = { prefix: "p", clock: systemClock, learnMembers: false, ...SOON };
    await using storage = await openEtcdStorage({ ...init, endpoints: [`http://${relay.address}`] });
    await storage.transaction([], [{ type: "put", key: "token", value: Buffer.from("used") }]);
    relay.redirect(other.endpoints[0] ?? "");
    relay.cut();
    const refused = { code: "UNAVAILABLE", message: expect.stringContaining("another cluster") };
    await expect(storage.get("token")).rejects.toMatchObject(refused);
    await expect(
      storage.transaction([], [{ type: "put", key: "a", value: new Uint8Array() }]),
    ).rejects.toMatchObject(refused);
    expect(await other.etcdctl("get", "", "--from-key", "--keys-only")).toBe("");
    relay.redirect(one.endpoints[0] ?? "");
    relay.cut();
    expect(await storage.get("token")).toMatchObject({ value: new Uint8Array(Buffer.from("used")) });
  }, 60_000);

  test("loopback works and is warned of", async () => {
    await using cluster = await EtcdCluster.start({ tls: false });
    const warnings: string[] = [];
    const logger: Logger = { ...silentLogger, warn: (message) => void warnings.push(message) };
    const init = { endpoints: cluster.endpoints, prefix: "p", clock: systemClock, logger };
    await using storage = await openEtcdStorage(init);
    expect(
      (await storage.transaction([], [{ type: "put", key: "a", value: new Uint8Array() }])).succeeded,
    ).toBe(true);
    expect(warnings.some((message) => message.includes("without TLS"))).toBe(true);
  }, 60_000);
});

describe.skipIf(!hasEtcd())("with etcd's authentication (needs etcd)", () => {
  test("a client certificate's common name is its user; others are told which role they lack", async () => {
    await using cluster = await EtcdCluster.start();
    await cluster.etcdctl("user", "add", "root", "--no-password");
    await cluster.etcdctl("role", "add", "rks");
    await cluster.etcdctl("role", "grant-permission", "rks", "--prefix=true", "readwrite", "blue/");
    await cluster.etcdctl("user", "add", "cp-blue", "--no-password");
    await cluster.etcdctl("user", "grant-role", "cp-blue", "rks");
    await cluster.etcdctl("user", "grant-role", "root", "root");
    await cluster.etcdctl("auth", "enable");
    const openAs = async (user: string, prefix: string): Promise<EtcdStorage> =>
      openEtcdStorage({
        endpoints: cluster.endpoints,
        prefix,
        credentials: await cluster.credentials(user),
        clock: systemClock,
      });

    await using storage = await openAs("cp-blue", "blue");
    const { revision } = await storage.transaction([], [{ type: "put", key: "a", value: Buffer.from("1") }]);
    expect((await storage.list("", { after: "z" })).entries).toEqual([]);
    expect((await storage.list("")).entries).toMatchObject([{ key: "a", modRevision: revision }]);
    const changes = storage.watch("", revision, { signal: AbortSignal.timeout(10_000) });
    for await (const change of changes) {
      expect(change.key).toBe("a");
      break;
    }
    for (const [user, prefix] of [
      ["cp-blue", "green"],
      ["mallory", "blue"],
    ] as const) {
      await expect(openAs(user, prefix)).rejects.toMatchObject({
        code: "PERMISSION_DENIED",
        message: expect.stringContaining(`"${user}"`),
        suggestion: expect.stringContaining(`"${prefix}/"`),
      });
    }
    await cluster.etcdctl("role", "revoke-permission", "rks", "--prefix=true", "blue/");
    await expect(storage.get("a")).rejects.toMatchObject({ code: "UNAVAILABLE" });
  }, 60_000);
});

describe.skipIf(!hasEtcd())("with a store that is full (needs etcd)", () => {
  test("writes are refused with nothing written, and go on when there is space again", async () => {
    await using cluster = await EtcdCluster.start({ flags: ["--quota-backend-bytes=4000000"] });
    await using storage = await openEtcdStorage({
      endpoints: cluster.endpoints,
      prefix: "full",
      credentials: await cluster.credentials("rks"),
      clock: systemClock,
    });
    let stored = 0;
    const fill = async (): Promise<void> => {
      for (; stored < 40; stored += 1) {
        await storage.transaction([], [{ type: "put", key: "blob", value: new Uint8Array(500_000) }]);
      }
    };
    const failure: unknown = await fill().catch((reason: unknown) => reason);
    expect(failure).toMatchObject({
      code: "STORAGE_FULL",
      message: expect.stringContaining(cluster.endpoints[0] ?? "?"),
    });
    const { entries, revision } = await storage.list("");
    expect(entries).toHaveLength(1);
    await expect(
      storage.transaction([], [{ type: "put", key: "more", value: new Uint8Array() }]),
    ).rejects.toMatchObject({ code: "STORAGE_FULL" });
    expect(await storage.get("more")).toBeUndefined();

    await cluster.etcdctl("compact", String(revision));
    await cluster.etcdctl("defrag");
    await cluster.etcdctl("alarm", "disarm");
    expect(
      (await storage.transaction([], [{ type: "put", key: "more", value: new Uint8Array() }])).succeeded,
    ).toBe(true);
  }, 60_000);
});
