import { generateKeyPairSync } from "node:crypto";
import { expect, test } from "vitest";
import { loadNative } from "./native-binding.js";
import type { NativeQuiche } from "./native-binding.js";
import { completeLimits } from "./limits.js";
import { buildEndpointConfig } from "./native-config.js";
import { copyOf, TestCa } from "./testing/test-pki.js";

const quiche = await loadNative();
const ca = await TestCa.create();
const server = await ca.issue();
const base = { verify: "ask" as const, roots: [ca.root], alpn: ["rks/1"], limits: completeLimits() };
const foreignKey = new Uint8Array(
  generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "der", type: "pkcs8" }),
);
/** A key whose public half is the certificate's and whose private half is not. */
const twoHalves = foreignKey.slice();
twoHalves.set(server.privateKey.subarray(-65), foreignKey.length - 65);
const garbage = Uint8Array.of(0x30, 3, 1, 1, 1);

test.each([
  { name: "no certificate", init: { credentials: { ...copyOf(server), certificateChain: [] } } },
  {
    name: "a certificate that is none",
    init: { credentials: { ...copyOf(server), certificateChain: [garbage] } },
  },
  { name: "a key that is none", init: { credentials: { ...copyOf(server), privateKey: garbage.slice() } } },
  {
    name: "a key of another certificate",
    init: { credentials: { ...copyOf(server), privateKey: foreignKey } },
  },
  {
    name: "a key with the certificate's public half only",
    init: { credentials: { ...copyOf(server), privateKey: twoHalves } },
  },
  { name: "a wiped key", init: { credentials: { ...copyOf(server), privateKey: new Uint8Array(138) } } },
  { name: "a root that is none", init: { credentials: copyOf(server), roots: [garbage] } },
  { name: "no protocol", init: { credentials: copyOf(server), alpn: [] } },
  { name: "a protocol without a name", init: { credentials: copyOf(server), alpn: [""] } },
])("refuses $name before anybody connects", ({ init }) => {
  expect(() => buildEndpointConfig(quiche, { ...base, ...init })).toThrow(
    expect.objectContaining({ code: "CONFIG_INVALID" }),
  );
});

test("wipes the caller's key and every copy that was handed to the native side", () => {
  const handed: Uint8Array[] = [];
  const spying: NativeQuiche = Object.create(quiche, {
    Config: {
      value: {
        withBoringSslCtx: (...args: Parameters<NativeQuiche["Config"]["withBoringSslCtx"]>) => {
          handed.push(...(args[3] ?? []));
          return quiche.Config.withBoringSslCtx(...args);
        },
      },
    },
  }) as NativeQuiche;
  const credentials = copyOf(server);
  buildEndpointConfig(spying, { ...base, credentials });
  expect(handed).toHaveLength(1);
  for (const bytes of [credentials.privateKey, ...handed])
    expect(bytes.every((byte) => byte === 0)).toBe(true);
});

test.each([
  { name: "a negative idle timeout", limits: { idleTimeoutMs: -1 } },
  { name: "half a stream", limits: { maxIncomingStreams: 0.5 } },
  { name: "a keep-alive that comes too late", limits: { idleTimeoutMs: 100, keepAliveIntervalMs: 100 } },
])("refuses $name", ({ limits }) => {
  expect(() => completeLimits(limits)).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
});

test("a short idle timeout brings a shorter keep-alive with it", () => {
  expect(completeLimits({ idleTimeoutMs: 300 }).keepAliveIntervalMs).toBe(100);
});
