import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { concatBytes, fromHex, hex } from "./bytes.js";
import type { RksError } from "./errors.js";
import { encodeFrame, type Frame, FrameDecoder } from "./frame.js";
import { arbitraryFrame, arbitrarySplit } from "./testing/arbitraries.js";

/** Frames that come out of the pieces, and the code of what stopped the decoder. */
function decode(
  pieces: readonly Uint8Array[],
  maxFrameBytes?: number,
): { frames: Frame[]; code: string | undefined } {
  const decoder = new FrameDecoder(maxFrameBytes === undefined ? {} : { maxFrameBytes });
  const frames: Frame[] = [];
  try {
    for (const piece of pieces) frames.push(...decoder.push(piece));
    decoder.end();
  } catch (error) {
    return { frames, code: (error as RksError).code };
  }
  return { frames, code: undefined };
}

describe("a frame", () => {
  test("is a length, a kind and a body", () => {
    expect(hex(encodeFrame("message", Uint8Array.of(0xaa, 0xbb)))).toBe("0000000301aabb");
    expect(hex(encodeFrame("bytes", new Uint8Array(0)))).toBe("0000000102");
  });

  test("comes out as it went in, however the bytes are split", () => {
    const split = fc.array(arbitraryFrame, { maxLength: 5 }).chain((frames) =>
      arbitrarySplit(concatBytes(...frames.map(({ kind, body }) => encodeFrame(kind, body)))).map(
        (pieces) => ({
          frames,
          pieces,
        }),
      ),
    );
    fc.assert(
      fc.property(split, ({ frames, pieces }) => {
        expect(decode(pieces)).toEqual({ frames, code: undefined });
      }),
    );
  });

  test("comes out byte by byte too", () => {
    const bytes = concatBytes(
      encodeFrame("message", Uint8Array.of(1, 2)),
      encodeFrame("bytes", Uint8Array.of(3)),
    );
    const pieces = Array.from(bytes, (byte) => Uint8Array.of(byte));
    expect(decode(pieces).frames.map(({ kind, body }) => [kind, hex(body)])).toEqual([
      ["message", "0102"],
      ["bytes", "03"],
    ]);
  });
});

describe("bytes from anywhere", () => {
  test("give the same frames and the same error however they are split", () => {
    const smallLengths = fc
      .array(fc.oneof(fc.constant(0), fc.constant(1), fc.constant(2), fc.constant(3), fc.nat({ max: 255 })))
      .map((bytes) => Uint8Array.from(bytes));
    const split = smallLengths.chain((bytes) => arbitrarySplit(bytes).map((pieces) => ({ bytes, pieces })));
    fc.assert(
      fc.property(split, ({ bytes, pieces }) => {
        expect(decode(pieces, 600)).toEqual(decode([bytes], 600));
      }),
      { numRuns: 500 },
    );
  });

  test.each([
    { name: "a frame of length 0", bytes: "00000000", code: "FRAME_INVALID" },
    { name: "kind 0", bytes: "0000000100", code: "FRAME_INVALID" },
    { name: "kind 3", bytes: "0000000203ff", code: "FRAME_INVALID" },
    {
      name: "a length beyond the limit, before anything of it came",
      bytes: "00100001",
      code: "MESSAGE_TOO_LARGE",
    },
    { name: "the greatest length there is", bytes: "ffffffff01", code: "MESSAGE_TOO_LARGE" },
    { name: "a length of raw bytes beyond theirs", bytes: "0001000202", code: "MESSAGE_TOO_LARGE" },
    { name: "an end inside the length", bytes: "0000", code: "MESSAGE_TRUNCATED" },
    { name: "an end before the kind", bytes: "00000002", code: "MESSAGE_TRUNCATED" },
    { name: "an end inside the body", bytes: "0000000301ff", code: "MESSAGE_TRUNCATED" },
  ])("$name: $code", ({ bytes, code }) => {
    expect(decode([fromHex(bytes)!])).toEqual({ frames: [], code });
  });

  test("that are good before they are bad give the good frames first", () => {
    const decoder = new FrameDecoder();
    const good = encodeFrame("bytes", Uint8Array.of(7));
    expect(decoder.push(concatBytes(good, fromHex("00000000")!))).toHaveLength(1);
    const failure = expect.objectContaining({ code: "FRAME_INVALID" }) as Error;
    expect(() => decoder.push(new Uint8Array(0))).toThrow(failure);
    expect(() => decoder.push(good)).toThrow(failure);
    expect(() => decoder.end()).toThrow(failure);
  });
});

describe("the decoder's limits", () => {
  test("the largest permitted frame passes and one byte more does not", () => {
    expect(decode([encodeFrame("message", new Uint8Array(99))], 100).code).toBeUndefined();
    expect(decode([encodeFrame("message", new Uint8Array(100))], 100).code).toBe("MESSAGE_TOO_LARGE");
    expect(decode([encodeFrame("bytes", new Uint8Array(65_536))]).code).toBeUndefined();
  });

  test("a large frame in tiny pieces takes time in proportion to its size", () => {
    const decoder = new FrameDecoder();
    const frame = encodeFrame("message", new Uint8Array(1_000_000));
    const start = performance.now();
    let frames = 0;
    for (let at = 0; at < frame.length; at++) frames += decoder.push(frame.subarray(at, at + 1)).length;
    expect(frames).toBe(1);
    expect(performance.now() - start).toBeLessThan(3000);
  });

  test("two hundred thousand frames in one piece come out", () => {
    const tiny = encodeFrame("bytes", new Uint8Array(0));
    const many = new Uint8Array(200_000 * tiny.length);
    for (let at = 0; at < many.length; at += tiny.length) many.set(tiny, at);
    expect(new FrameDecoder().push(many)).toHaveLength(200_000);
  });

  test("a frame is the decoder's own: changing what was pushed changes nothing", () => {
    const decoder = new FrameDecoder();
    const frame = encodeFrame("bytes", Uint8Array.of(1, 2, 3));
    const first = frame.slice(0, 7);
    decoder.push(first);
    first.fill(0xff);
    const rest = frame.slice(7);
    const [decoded] = decoder.push(rest);
    rest.fill(0xff);
    expect(decoded?.body).toEqual(Uint8Array.of(1, 2, 3));
  });
});
