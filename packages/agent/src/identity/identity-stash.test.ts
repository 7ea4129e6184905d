import { expect, test } from "vitest";
import { MemoryStash } from "../testing/memory-stash.js";
import { wipeStashed, type StashedIdentity } from "./identity-stash.js";

function aState(): StashedIdentity {
  const key = { pkcs8: new Uint8Array([1, 2, 3]), csr: new Uint8Array([4]) };
  return {
    instanceId: "instance-1",
    rksAddress: "127.0.0.1:50051",
    nodeName: "worker-1",
    trust: { generation: 1, roots: [new Uint8Array([5])] },
    joinToken: new Uint8Array([6, 7]),
    current: { ...key, pkcs8: new Uint8Array([8, 9]), answer: new Uint8Array([10]) },
    pending: key,
  };
}

test("wiping overwrites the keys and the token and nothing else", () => {
  const state = aState();
  wipeStashed(state);
  expect(state).toEqual({
    ...aState(),
    joinToken: new Uint8Array(2),
    current: { pkcs8: new Uint8Array(2), csr: new Uint8Array([4]), answer: new Uint8Array([10]) },
    pending: { pkcs8: new Uint8Array(3), csr: new Uint8Array([4]) },
  });
});

test("what a stash gives is fresh bytes, and what it was given stays the caller's", async () => {
  const stash = new MemoryStash();
  const given = aState();
  await stash.save(given);
  wipeStashed(given);
  const first = (await stash.load())!;
  expect(first).toEqual(aState());
  wipeStashed(first);
  expect(await stash.load()).toEqual(aState());
});

test("a cleared stash, and one that could not save, hold nothing", async () => {
  const stash = new MemoryStash();
  await stash.save(aState());
  await stash.clear();
  expect(await stash.load()).toBeUndefined();
  await stash.save(aState());
  stash.failure = new Error("full");
  await expect(stash.save(aState())).rejects.toThrow("full");
  expect(await stash.load()).toBeUndefined();
});
