import { FakeClock } from "@rk8s/protocol/testing";
import { memoryStorage, type Storage } from "@rk8s/storage";
import { parseCrl, revokedCertificates } from "@rk8s/x509";
import { expect, test } from "vitest";
import type { Answer, Backend, JsonObject, Operation } from "../../vault/backend.js";
import { askBackend } from "../../vault/testing/ask-backend.js";
import { CrashingStorage, everyCrash } from "../../vault/testing/crashing-storage.js";
import { pkiBackend } from "../pki-backend.js";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const PREFIX = "logical/1/";

interface Fixture {
  readonly backend: Backend;
  readonly storage: Storage;
  readonly clock: FakeClock;
  readonly ask: (
    operation: Exclude<Operation, "help">,
    path: string,
    data?: JsonObject,
  ) => Promise<Answer | undefined>;
  readonly issue: (ttl: string) => Promise<string>;
  readonly revoke: (serial: string) => Promise<unknown>;
  readonly status: () => Promise<JsonObject>;
  /** The status once no tidy runs any more. */
  readonly finished: () => Promise<JsonObject>;
  /** Serial numbers of certificates, of revoked ones, and of those in the list. */
  readonly known: () => Promise<{
    readonly certs: unknown;
    readonly revoked: unknown;
    readonly crl: unknown;
  }>;
}

async function aMount(
  init: { readonly storage?: Storage; readonly clock?: FakeClock } = {},
): Promise<Fixture> {
  const { storage = memoryStorage(), clock = new FakeClock({ now: Date.UTC(2026, 5, 1) }) } = init;
  const mount = {
    path: "pki/",
    type: "pki",
    accessor: "pki_test",
    options: {},
    storagePrefix: PREFIX,
    defaultTtlSeconds: 86_400,
    maxTtlSeconds: 315_360_000,
  };
  const backend = await pkiBackend({ clock })(mount, storage);
  const ask: Fixture["ask"] = (operation, path, data = {}) => askBackend(backend, operation, path, data);
  const status = async () => (await ask("read", "tidy-status"))?.data ?? {};
  const keys = async (path: string) => (await ask("list", path))?.data?.["keys"] ?? [];
  return {
    backend,
    storage,
    clock,
    ask,
    issue: async (ttl) => {
      const issued = await ask("update", "issue/web", { common_name: "a.example.com", ttl });
      return String(issued?.data?.["serial_number"]);
    },
    revoke: (serial_number) => ask("update", "revoke", { serial_number }),
    status,
    finished: async () => {
      for (;;) {
        const now = await status();
        if (now["state"] !== "Running" && now["state"] !== "Cancelling") return now;
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
    known: async () => {
      const body = (await ask("read", "crl"))?.raw?.body;
      const entries = body instanceof Uint8Array ? [...revokedCertificates(parseCrl(body))] : [];
      const crl = entries.map(({ serialNumber }) => serialNumber.match(/../g)?.join(":"));
      return { certs: await keys("certs"), revoked: await keys("certs/revoked"), crl };
    },
  };
}

async function aMountWithRoot(init: Parameters<typeof aMount>[0] = {}): Promise<Fixture> {
  const mount = await aMount(init);
  await mount.ask("update", "root/generate/internal", { common_name: "Root", key_type: "ec", ttl: "87600h" });
  await mount.ask("update", "roles/web", { key_type: "ec", allow_any_name: true, max_ttl: "8760h" });
  return mount;
}

const EVERYTHING = { tidy_cert_store: true, tidy_revoked_certs: true, safety_buffer: "1h" };

test("a tidy forgets what ended before the safety buffer, and takes it out of the list", async () => {
  const pki = await aMountWithRoot();
  const { certs: before } = await pki.known();
  const [endedGood, endedRevoked, good, revoked] = [
    await pki.issue("1h"),
    await pki.issue("1h"),
    await pki.issue("100h"),
    await pki.issue("100h"),
  ];
  for (const serial of [endedRevoked, revoked]) await pki.revoke(serial);
  pki.clock.advance(2 * HOUR_MS - 2000);
  await pki.ask("update", "tidy", EVERYTHING);
  expect(await pki.finished()).toMatchObject({ cert_store_deleted_count: 0, revoked_cert_deleted_count: 0 });
  pki.clock.advance(HOUR_MS);
  const answer = await pki.ask("update", "tidy", EVERYTHING);
  expect(answer?.warnings).toEqual([expect.stringContaining("tidy-status")]);
  expect(answer?.status).toBeUndefined();
  const status = await pki.finished();
  expect(status).toMatchObject({
    state: "Finished",
    error: null,
    cert_store_deleted_count: 2,
    revoked_cert_deleted_count: 1,
    safety_buffer: 3600,
    pause_duration: "0s",
    tidy_cert_store: true,
    time_started: new Date(pki.clock.now()).toISOString(),
  });
  expect(Object.keys(status).length).toBeGreaterThanOrEqual(28);
  const { certs, ...rest } = await pki.known();
  const kept = [...(before as string[]), good, revoked].toSorted();
  expect((certs as string[]).toSorted()).toEqual(kept);
  expect(rest).toEqual({ revoked: [revoked], crl: [revoked] });
  expect(certs).not.toContain(endedGood);
});

test("revoked certificates stay as long as their own safety buffer says", async () => {
  const pki = await aMountWithRoot();
  const serial = await pki.issue("1h");
  await pki.revoke(serial);
  pki.clock.advance(10 * HOUR_MS);
  await pki.ask("update", "tidy", { ...EVERYTHING, revoked_safety_buffer: "24h" });
  expect(await pki.finished()).toMatchObject({ cert_store_deleted_count: 0, revoked_cert_deleted_count: 0 });
  expect(await pki.known()).toMatchObject({ revoked: [serial], crl: [serial] });
});

test("with the clock put back nothing is forgotten", async () => {
  const pki = await aMountWithRoot();
  await pki.issue("1h");
  pki.clock.jump(-365 * DAY_MS);
  await pki.ask("update", "tidy", EVERYTHING);
  expect(await pki.finished()).toMatchObject({ state: "Finished", cert_store_deleted_count: 0 });
});

test("a damaged revocation does not stop a tidy", async () => {
  const pki = await aMountWithRoot();
  const serials = [await pki.issue("1h"), await pki.issue("1h"), await pki.issue("1h")];
  for (const serial of serials) await pki.revoke(serial);
  const key = `${PREFIX}revoked/${(serials[1] ?? "").replaceAll(":", "")}`;
  await pki.storage.transaction([], [{ type: "put", key, value: Uint8Array.of(1) }]);
  pki.clock.advance(10 * HOUR_MS);
  await pki.ask("update", "tidy", { tidy_revoked_certs: true, safety_buffer: "1h" });
  expect(await pki.finished()).toMatchObject({
    state: "Finished",
    revoked_cert_deleted_count: 2,
    skipped_count: 1,
  });
});

test("tidying invalid certificates deletes what cannot be parsed", async () => {
  const pki = await aMountWithRoot();
  const serial = await pki.issue("100h");
  const key = `${PREFIX}certs/${serial.replaceAll(":", "")}`;
  await pki.storage.transaction([], [{ type: "put", key, value: Buffer.alloc(40, 1) }]);
  await pki.ask("update", "tidy", { tidy_invalid_certs: true });
  expect(await pki.finished()).toMatchObject({ state: "Finished", cert_store_deleted_count: 1 });
  expect((await pki.known()).certs).not.toContain(serial);
});

test("expired issuers go after their buffer, never the default", async () => {
  const pki = await aMountWithRoot();
  await pki.ask("update", "root/rotate/internal", { common_name: "Short", key_type: "ec", ttl: "24h" });
  pki.clock.advance(20 * 365 * DAY_MS);
  await pki.ask("update", "tidy", { tidy_expired_issuers: true, issuer_safety_buffer: "1h" });
  expect(await pki.finished()).toMatchObject({ state: "Finished" });
  expect((await pki.ask("list", "issuers"))?.data?.["keys"]).toHaveLength(1);
  expect(await pki.ask("read", "issuer/default")).toBeDefined();
});

test("a revocation without a list gets into one when its issuer is back", async () => {
  const pki = await aMountWithRoot();
  const serial = await pki.issue("100h");
  const ca = (await pki.ask("read", "cert/ca"))?.data?.["certificate"];
  await pki.ask("delete", "issuer/default");
  await pki.revoke(serial);
  await pki.ask("update", "tidy", { tidy_revoked_cert_issuer_associations: true });
  expect(await pki.finished()).toMatchObject({ missing_issuer_cert_count: 1 });
  await pki.ask("update", "issuers/import/cert", { pem_bundle: ca });
  await pki.ask("update", "tidy", { tidy_revoked_cert_issuer_associations: true });
  expect(await pki.finished()).toMatchObject({ missing_issuer_cert_count: 0 });
  const { keys } = (await pki.ask("list", "issuers"))?.data ?? {};
  const [id] = keys as readonly string[];
  await pki.ask("update", "config/issuers", { default: id });
  expect(await pki.known()).toMatchObject({ crl: [serial], revoked: [serial] });
});

test("only one tidy runs, it pauses, and it can be cancelled", async () => {
  const pki = await aMountWithRoot();
  for (let i = 0; i < 3; i += 1) await pki.issue("1h");
  pki.clock.advance(10 * HOUR_MS);
  await pki.ask("update", "tidy", { ...EVERYTHING, pause_duration: "10s" });
  expect(await pki.clock.nextSleep()).toBe(10_000);
  expect(await pki.status()).toMatchObject({ state: "Running", pause_duration: "10s" });
  expect((await pki.ask("update", "tidy", EVERYTHING))?.warnings).toEqual(["a tidy is running already"]);
  pki.clock.advance(10_000);
  await pki.clock.nextSleep();
  await pki.ask("update", "tidy-cancel");
  expect(await pki.finished()).toMatchObject({
    state: "Cancelled",
    cert_store_deleted_count: 2,
    error: null,
  });
  await expect(pki.ask("update", "tidy-cancel")).rejects.toMatchObject({ code: "INPUT_INVALID" });
  await pki.ask("update", "tidy", EVERYTHING);
  expect(await pki.finished()).toMatchObject({ state: "Finished", cert_store_deleted_count: 1 });
});

test("a tidy that a restart broke off goes on", async () => {
  const pki = await aMountWithRoot();
  for (let i = 0; i < 3; i += 1) await pki.issue("1h");
  pki.clock.advance(10 * HOUR_MS);
  await pki.ask("update", "tidy", { ...EVERYTHING, pause_duration: "10s" });
  await pki.clock.nextSleep();
  await pki.backend[Symbol.asyncDispose]();
  expect(pki.clock.pendingSleeps).toBe(0);
  const again = await aMount({ storage: pki.storage, clock: pki.clock });
  for (let i = 0; i < 2; i += 1) {
    await again.clock.nextSleep();
    again.clock.advance(10_000);
  }
  expect(await again.finished()).toMatchObject({ state: "Finished", cert_store_deleted_count: 2 });
  const last = await aMount({ storage: pki.storage, clock: pki.clock });
  expect(await last.status()).toMatchObject({ state: "Inactive" });
});

test("auto-tidy runs each interval, also one that a restart fell into", async () => {
  const pki = await aMountWithRoot();
  await pki.issue("1h");
  await pki.ask("update", "config/auto-tidy", {
    ...EVERYTHING,
    enabled: true,
    interval_duration: "6h",
    maintain_stored_certificate_counts: true,
  });
  expect(await pki.clock.nextSleep()).toBe(5 * 60_000);
  pki.clock.advance(5 * HOUR_MS);
  await pki.clock.nextSleep();
  expect(await pki.status()).toMatchObject({ state: "Inactive" });
  await pki.backend[Symbol.asyncDispose]();
  const again = await aMount({ storage: pki.storage, clock: pki.clock });
  await again.clock.nextSleep();
  again.clock.advance(HOUR_MS);
  await again.clock.nextSleep();
  expect(await again.finished()).toMatchObject({
    state: "Finished",
    cert_store_deleted_count: 1,
    current_cert_store_count: 1,
    current_revoked_cert_count: 0,
    last_auto_tidy_finished: new Date(again.clock.now()).toISOString(),
  });
  await again.ask("update", "config/auto-tidy", { enabled: false });
  expect(again.clock.pendingSleeps).toBe(0);
});

test("auto-tidy goes on when the clock is put back", async () => {
  const pki = await aMountWithRoot();
  await pki.ask("update", "config/auto-tidy", { ...EVERYTHING, enabled: true, interval_duration: "10m" });
  await pki.clock.nextSleep();
  pki.clock.jump(-1000 * HOUR_MS);
  pki.clock.advance(5 * 60_000);
  expect(await pki.clock.nextSleep()).toBe(5 * 60_000);
  pki.clock.advance(5 * 60_000);
  await pki.clock.nextSleep();
  pki.clock.advance(5 * 60_000);
  await pki.clock.nextSleep();
  expect(await pki.finished()).toMatchObject({ state: "Finished" });
  await pki.backend[Symbol.asyncDispose]();
});

test.each([
  { name: "no buffer", path: "tidy", data: { safety_buffer: 0 } },
  { name: "a tiny page", path: "tidy", data: { page_size: 2 } },
  { name: "nothing to do", path: "config/auto-tidy", data: { enabled: true } },
  {
    name: "no interval",
    path: "config/auto-tidy",
    data: { ...EVERYTHING, enabled: true, interval_duration: 0 },
  },
  {
    name: "counts to publish that are not kept",
    path: "config/auto-tidy",
    data: { publish_stored_certificate_count_metrics: true },
  },
])("$path with $name is refused", async ({ path, data }) => {
  const pki = await aMountWithRoot();
  await expect(pki.ask("update", path, data)).rejects.toMatchObject({ code: "INPUT_INVALID" });
});

test("what has no effect here is accepted with a warning", async () => {
  const pki = await aMountWithRoot();
  const answer = await pki.ask("update", "tidy", { tidy_acme: true, tidy_revocation_queue: true });
  expect(answer?.warnings).toEqual([
    expect.stringContaining("tidy_acme has no effect"),
    expect.stringContaining("tidy_revocation_queue has no effect"),
    expect.stringContaining("nothing to tidy"),
  ]);
});

test("certificates revoked while a tidy forgets them leave list and records in step", async () => {
  const pki = await aMountWithRoot();
  const serials: string[] = [];
  for (let i = 0; i < 60; i += 1) serials.push(await pki.issue("1h"));
  for (const serial of serials.slice(0, 30)) await pki.revoke(serial);
  await pki.ask("update", "config/crl", { allow_expired_cert_revocation: true });
  pki.clock.advance(10 * HOUR_MS);
  await pki.ask("update", "tidy", EVERYTHING);
  await Promise.allSettled(serials.slice(20).map((serial) => pki.revoke(serial)));
  expect(await pki.finished()).toMatchObject({ state: "Finished", error: null });
  const { revoked, crl } = await pki.known();
  expect((crl as string[]).toSorted()).toEqual((revoked as string[]).toSorted());
  const again = await aMount({ storage: pki.storage, clock: pki.clock });
  expect(((await again.known()).crl as string[]).toSorted()).toEqual((revoked as string[]).toSorted());
});

test.each(everyCrash(4))(
  "a tidy that dies at transaction $at, written: $written, is finished later",
  async (crash) => {
    const storage = new CrashingStorage();
    const pki = await aMountWithRoot({ storage });
    const serials: string[] = [];
    for (let i = 0; i < 4; i += 1) serials.push(await pki.issue(i < 3 ? "1h" : "100h"));
    for (const serial of serials.slice(1)) await pki.revoke(serial);
    pki.clock.advance(10 * HOUR_MS);
    storage.plan(crash);
    await pki.ask("update", "tidy", EVERYTHING).catch(() => undefined);
    await pki.finished();
    const again = await aMount({ storage: storage.disk, clock: pki.clock });
    await again.finished();
    await again.ask("update", "tidy", EVERYTHING);
    expect(await again.finished()).toMatchObject({ state: "Finished" });
    expect(await again.known()).toMatchObject({ revoked: [serials[3]], crl: [serials[3]] });
    expect((await again.known()).certs).toHaveLength(2);
  },
);
