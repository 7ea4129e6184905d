import { once } from "node:events";
import type { Duplex } from "node:stream";
import { ECHO, SINK } from "./subject.js";

/** Serve one Node stream as `Subject` says. */
export function serveDuplex(stream: Duplex): void {
  let mode: number | undefined;
  stream.on("error", () => undefined);
  stream.on("data", (chunk: Buffer) => {
    const isFirst = mode === undefined;
    mode ??= chunk[0];
    if (mode === ECHO) stream.write(isFirst ? chunk.subarray(1) : chunk);
  });
  stream.on("end", () => stream.end(mode === SINK ? Uint8Array.of(1) : undefined));
}

export interface DuplexClient {
  openEcho(): (message: Uint8Array) => Promise<void>;
  request(message: Uint8Array): Promise<void>;
  upload(chunk: Uint8Array, count: number): Promise<void>;
}

/** The client's side of a Node stream. */
export function duplexClient(stream: Duplex): DuplexClient {
  let expected = 0;
  let resolve: (() => void) | undefined;
  stream.on("data", (chunk: Buffer) => {
    expected -= chunk.length;
    if (expected <= 0) resolve?.();
  });
  const bytesBack = async (count: number): Promise<void> =>
    new Promise((done) => {
      expected = count;
      resolve = done;
    });
  return {
    openEcho() {
      stream.write(Uint8Array.of(ECHO));
      return async (message) => {
        const back = bytesBack(message.length);
        stream.write(message);
        await back;
      };
    },
    async request(message) {
      const ended = once(stream, "end");
      const framed = new Uint8Array(message.length + 1);
      framed[0] = ECHO;
      framed.set(message, 1);
      stream.end(framed);
      await ended;
    },
    async upload(chunk, count) {
      const back = bytesBack(1);
      stream.write(Uint8Array.of(SINK));
      for (let i = 0; i < count; i++) if (!stream.write(chunk)) await once(stream, "drain");
      stream.end();
      await back;
    },
  };
}
