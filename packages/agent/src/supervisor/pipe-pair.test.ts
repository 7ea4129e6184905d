import { closeSync, fstatSync, readdirSync, readSync, writeSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openPipes } from "./open-pipes.js";
import { areLargeEnough, MAX_PAYLOAD_BYTES, PipePair, type PipeDescriptors } from "./pipe-pair.js";
import { encodeRecord } from "./record.js";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe.runIf(process.platform === "linux")("a pair of pipes", () => {
  let folder: string;
  let pipes: PipeDescriptors;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "rkl-pipes-"));
    pipes = openPipes([folder]);
  });
  afterEach(async () => {
    for (const descriptor of pipes) closeSync(descriptor);
    await rm(folder, { recursive: true });
  });

  /** Take everything out, as nobody of the product does. */
  function steal(descriptor: number): Uint8Array {
    const buffer = Buffer.alloc(65_536);
    try {
      return Uint8Array.from(buffer.subarray(0, readSync(descriptor, buffer)));
    } catch {
      return new Uint8Array();
    }
  }

  test("has no name left, and its descriptors are pipes", () => {
    expect(readdirSync(folder)).toEqual([]);
    expect(pipes.map((descriptor) => fstatSync(descriptor).isFIFO())).toEqual([true, true]);
  });

  test("gives what was written last, as often as it is asked", () => {
    const pair = new PipePair(pipes);
    expect(pair.read()).toBeUndefined();
    pair.write(bytes("one"));
    pair.write(bytes("two"));
    expect([pair.read(), pair.read(), new PipePair(pipes).read()]).toEqual(Array(3).fill(bytes("two")));
    pair.clear();
    expect(pair.read()).toBeUndefined();
  });

  test("gives fresh memory each time", () => {
    const pair = new PipePair(pipes);
    pair.write(bytes("one"));
    pair.read()!.fill(0);
    expect(pair.read()).toEqual(bytes("one"));
  });

  const old = encodeRecord({ generation: 6n, payload: bytes("old") });
  const recent = encodeRecord({ generation: 7n, payload: bytes("new") });
  const nothing = new Uint8Array();
  test.each([
    { name: "before anything", first: old, second: old, expected: "old" },
    { name: "when the first was emptied", first: nothing, second: old, expected: "old" },
    { name: "in the middle of the first", first: recent.subarray(0, 30), second: old, expected: "old" },
    { name: "after the first", first: recent, second: old, expected: "new" },
    { name: "when the second was emptied", first: recent, second: nothing, expected: "new" },
    { name: "in the middle of the second", first: recent, second: recent.subarray(0, 60), expected: "new" },
    { name: "after both", first: recent, second: recent, expected: "new" },
  ])("a writer killed $name leaves the old or the new, twice", ({ first, second, expected }) => {
    writeSync(pipes[0], first);
    writeSync(pipes[1], second);
    const pair = new PipePair(pipes);
    pair.repair();
    expect(pair.read()).toEqual(bytes(expected));
    expect(steal(pipes[0])).toEqual(steal(pipes[1]));
  });

  test("a reader killed between reading and writing back costs nothing", () => {
    const pair = new PipePair(pipes);
    pair.write(bytes("one"));
    steal(pipes[0]);
    pair.repair();
    steal(pipes[1]);
    pair.repair();
    expect(pair.read()).toEqual(bytes("one"));
  });

  test("keeps the largest payload, refuses a larger one and then holds nothing", () => {
    const pair = new PipePair(pipes);
    const largest = new Uint8Array(MAX_PAYLOAD_BYTES).fill(7);
    pair.write(largest);
    pair.write(largest);
    expect(pair.read()).toEqual(largest);
    expect(() => pair.write(new Uint8Array(MAX_PAYLOAD_BYTES + 1))).toThrow(RangeError);
    expect(pair.read()).toBeUndefined();
  });

  test("anything else in a pipe is no record, and repairing empties it", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 300 }), (first, second) => {
        writeSync(pipes[0], first);
        writeSync(pipes[1], second);
        const pair = new PipePair(pipes);
        pair.repair();
        expect(pair.read()).toBeUndefined();
        expect(steal(pipes[0])).toEqual(nothing);
      }),
      { numRuns: 50 },
    );
  });

  test("a record with one bit changed is no record", () => {
    const pair = new PipePair(pipes);
    for (let i = 0; i < recent.length; i++) {
      const damaged = Uint8Array.from(recent);
      damaged[i]! ^= 1;
      writeSync(pipes[0], damaged);
      expect(pair.read()).toBeUndefined();
    }
  });

  test("is found too small when a pipe takes less than a record", () => {
    expect(areLargeEnough(pipes)).toBe(true);
    writeSync(pipes[1], new Uint8Array(40_000));
    expect(areLargeEnough(pipes)).toBe(false);
  });

  test("is opened in the first folder that will do", () => {
    expect(() => openPipes([join(folder, "missing")])).toThrow("ENOENT");
    const others = openPipes([join(folder, "missing"), folder]);
    expect(readdirSync(folder)).toEqual([]);
    for (const descriptor of others) closeSync(descriptor);
  });
});
