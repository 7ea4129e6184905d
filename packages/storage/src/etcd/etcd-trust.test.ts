import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { systemClock } from "@rk8s/host";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { EtcdCluster, hasEtcd } from "../testing/etcd.js";
import { TestAuthority } from "../testing/etcd-certificates.js";
import { put } from "../testing/storage-contract.js";
import { TcpRelay } from "../testing/tcp-relay.js";
import type { EtcdCredentials } from "./credentials.js";
import { type EtcdStorage, openEtcdStorage } from "./etcd-storage.js";
import type { MemberCertificate } from "./member.js";

describe.skipIf(!hasEtcd())(
  "members that do not take new credentials (needs etcd)",
  { timeout: 30_000 },
  () => {
    let cluster: EtcdCluster;
    let good: EtcdCredentials;
    /** Of another authority, for both sides. */
    let foreign: EtcdCredentials;
    let folder: string;

    beforeAll(async () => {
      cluster = await EtcdCluster.start();
      good = await cluster.credentials("rks");
      folder = await mkdtemp(join(tmpdir(), "rks-etcd-trust-"));
      foreign = await (await TestAuthority.create(folder)).credentials("rks");
    }, 60_000);
    afterAll(async () => {
      await cluster[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    });

    const openVia = async (endpoints: readonly string[], prefix: string): Promise<EtcdStorage> =>
      openEtcdStorage({
        endpoints,
        prefix,
        credentials: good,
        clock: systemClock,
        learnMembers: false,
        operationTimeoutMs: 1500,
      });

    test("each member is tried over a connection of its own, and what fails is said for each", async () => {
      await using relay = await TcpRelay.open(cluster.endpoints[0]!);
      const dead = "https://127.0.0.1:1";
      await using storage = await openVia([`https://${relay.address}`, dead], "trust/tried");
      let shown: (MemberCertificate | undefined)[] = [];
      const codes = async (credentials: EtcdCredentials): Promise<(string | undefined)[]> => {
        const trials = await storage.tryCredentials(credentials);
        shown = trials.map(({ certificate }) => certificate);
        expect(trials.map(({ url }) => url)).toEqual(storage.endpoints);
        return trials.map(({ error }) => error?.code);
      };
      expect(await codes(good)).toEqual([undefined, "UNREACHABLE"]);
      expect(shown[0]!.notAfter - shown[0]!.notBefore).toBe(2 * 86_400_000);
      expect(shown[1]).toBeUndefined();
      expect(await codes({ ...good, ca: foreign.ca })).toEqual(["SERVER_UNTRUSTED", "UNREACHABLE"]);
      expect(shown).toEqual([undefined, undefined]);
      expect(await codes({ ...foreign, ca: good.ca })).toEqual(["CLIENT_CERTIFICATE_REFUSED", "UNREACHABLE"]);
      await expect(storage.tryCredentials({ ...good, privateKey: foreign.privateKey })).rejects.toMatchObject(
        {
          code: "CONFIG_INVALID",
        },
      );
      expect((await storage.transaction([], [put("a", "1")])).succeeded).toBe(true);
    });

    test.each([
      ["that it does not trust", (): EtcdCredentials => ({ ...foreign, ca: good.ca })],
      ["by which rks does not trust it", (): EtcdCredentials => ({ ...good, ca: foreign.ca })],
    ])("credentials %s: the connection goes on, and there is no other with former ones", async (_, bad) => {
      await using relay = await TcpRelay.open(cluster.endpoints[0]!);
      await using storage = await openVia([`https://${relay.address}`], "trust/held");
      const { revision } = await storage.transaction([], [put("a", "0")]);
      const changes = storage.watch("a", revision, { signal: AbortSignal.timeout(25_000) });
      const watch = changes[Symbol.asyncIterator]();
      await watch.next();
      await storage.useCredentials(bad());
      const next = watch.next();
      expect((await storage.transaction([], [put("a", "1")])).succeeded).toBe(true);
      expect((await next).value).toMatchObject({ key: "a" });

      relay.cut();
      await expect(storage.get("a")).rejects.toMatchObject({
        code: "UNAVAILABLE",
        cause: expect.objectContaining({
          code: expect.stringMatching(/^(?:SERVER_UNTRUSTED|CLIENT_CERTIFICATE_REFUSED)$/),
        }),
      });
      await storage.useCredentials(good);
      const last = watch.next();
      expect((await storage.transaction([], [put("a", "2")])).succeeded).toBe(true);
      const seen = await last;
      expect(seen.done === true ? "ended" : Buffer.from(seen.value.value ?? []).toString()).toBe("2");
    });

    test("credentials that work take the place of those that did not, before the connection is lost", async () => {
      await using relay = await TcpRelay.open(cluster.endpoints[0]!);
      await using storage = await openVia([`https://${relay.address}`], "trust/late");
      await storage.useCredentials({ ...good, ca: foreign.ca });
      expect(await storage.get("a")).toBeUndefined();
      await storage.useCredentials(await cluster.credentials("rks-2"));
      relay.cut();
      expect(await storage.get("a")).toBeUndefined();
    });
  },
);
