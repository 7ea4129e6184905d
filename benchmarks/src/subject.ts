import type { BenchmarkPki } from "./certificates.js";

/**
 * A transport that is measured: mutual TLS on loopback. Its server answers each stream by the first byte: `ECHO` sends
 * back all that follows, `SINK` takes all that follows and sends one byte at the end.
 */
export interface Subject {
  readonly name: string;
  serve(pki: BenchmarkPki): Promise<{ readonly port: number }>;
  connect(pki: BenchmarkPki, port: number): Promise<Client>;
}

export interface Client {
  /** A stream that stays: sends a message, resolves when as many bytes are back. */
  openEcho(): Promise<(message: Uint8Array) => Promise<void>>;
  /** One message on a stream of its own and back. Absent where there are no streams. */
  readonly request?: (message: Uint8Array) => Promise<void>;
  /** All these bytes to a sink, on one stream. */
  upload(chunk: Uint8Array, count: number): Promise<void>;
  close(): Promise<void>;
}

export const ECHO = 0x65;
export const SINK = 0x73;
