import { closeSync } from "node:fs";
import { tmpdir } from "node:os";
import { encodeMessage } from "@rk8s/protocol";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { StashedIdentity } from "../identity/identity-stash.js";
import { openPipes } from "./open-pipes.js";
import { MAX_PAYLOAD_BYTES, PipePair, type PipeDescriptors } from "./pipe-pair.js";
import { createPipeStash } from "./pipe-stash.js";
import { decodeState, encodeState } from "./state-codec.js";

const someBytes = fc.uint8Array({ maxLength: 200 });
const key = fc.record({ pkcs8: someBytes, csr: someBytes, answer: fc.option(someBytes, { nil: undefined }) });
const states: fc.Arbitrary<StashedIdentity> = fc.record({
  instanceId: fc.string(),
  rksAddress: fc.string(),
  nodeName: fc.option(fc.string(), { nil: undefined }),
  trust: fc.record(
    {
      generation: fc.nat(),
      roots: fc.array(someBytes, { maxLength: 3 }),
      refusedIssuers: fc.array(someBytes, { minLength: 1, maxLength: 3 }),
    },
    { requiredKeys: ["generation", "roots"] },
  ),
  joinToken: fc.option(someBytes, { nil: undefined }),
  current: fc.option(key, { nil: undefined }),
  pending: fc.option(key, { nil: undefined }),
});

test("every state survives its bytes", () => {
  fc.assert(
    fc.property(states, (state) => {
      expect(decodeState(encodeState(state))).toEqual(state);
    }),
  );
});

test("half a state, or any other bytes, are no state or one with all that a state needs", () => {
  fc.assert(
    fc.property(states, fc.nat(), someBytes, (state, length, garbage) => {
      const whole = encodeState(state);
      const read = [whole.subarray(0, length % whole.length), garbage].map((bytes) => decodeState(bytes));
      expect(read.every((each) => each === undefined || Number.isSafeInteger(each.trust.generation))).toBe(
        true,
      );
    }),
  );
});

test("fields of a later version are skipped", () => {
  const [state] = fc.sample(states, { seed: 1, numRuns: 1 }) as [StashedIdentity];
  const later = Buffer.concat([Buffer.from([200, 0, 0, 0, 2, 1, 1]), encodeState(state)]);
  expect(decodeState(later)).toEqual(state);
});

describe.runIf(process.platform === "linux")("a stash in pipes", () => {
  let pipes: PipeDescriptors;
  beforeEach(() => (pipes = openPipes([tmpdir()])));
  afterEach(() => pipes.forEach((descriptor) => closeSync(descriptor)));

  const state: StashedIdentity = {
    instanceId: "i",
    rksAddress: "127.0.0.1:1",
    nodeName: "worker-1",
    trust: { generation: 3, roots: [new Uint8Array([1])] },
    joinToken: undefined,
    current: { pkcs8: new Uint8Array([1, 2]), csr: new Uint8Array([3]), answer: new Uint8Array([4]) },
    pending: undefined,
  };

  test("gives another process what was saved, and nothing after clear", async () => {
    const stash = createPipeStash(pipes);
    expect(await stash.load()).toBeUndefined();
    await stash.save(state);
    expect(await createPipeStash(pipes).load()).toEqual(state);
    await stash.clear();
    expect(await stash.load()).toBeUndefined();
  });

  test("has room for two identities with the largest certificates of an offline root, in the middle of a rotation", () => {
    const certificate = new Uint8Array(2048);
    const answer = encodeMessage({
      type: "Certificate",
      nodeName: "n".repeat(63),
      leaf: new Uint8Array(700),
      chain: Array.from({ length: 4 }, () => certificate),
      trustBundle: [certificate, certificate],
      renewAfter: new Date(0).toISOString(),
      notAfter: new Date(0).toISOString(),
      serialNumber: "0".repeat(40),
      refusedIssuers: Array.from({ length: 7 }, () => new Uint8Array(32)),
    });
    const held = { pkcs8: new Uint8Array(200), csr: new Uint8Array(1000), answer };
    const trust = { generation: 7, roots: [certificate, certificate] };
    const largest = encodeState({ ...state, trust, current: held, pending: held });
    expect(largest.length).toBeLessThan(MAX_PAYLOAD_BYTES);
  });

  test("says that a state is too large, and holds nothing rather than an old one", async () => {
    const stash = createPipeStash(pipes);
    await stash.save(state);
    const trust = { generation: 4, roots: [new Uint8Array(MAX_PAYLOAD_BYTES)] };
    await expect(stash.save({ ...state, trust })).rejects.toMatchObject({ code: "MESSAGE_TOO_LARGE" });
    expect(await stash.load()).toBeUndefined();
  });

  test("holds nothing of what cannot be read", async () => {
    new PipePair(pipes).write(new Uint8Array([1, 2, 3]));
    expect(await createPipeStash(pipes).load()).toBeUndefined();
  });

  test("says that pipes are gone", async () => {
    const stash = createPipeStash([-1, -1]);
    await expect(stash.save(state)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });
});
