import { type BenchmarkPki, createBenchmarkPki } from "./certificates.js";
import { type Figure, median } from "./report.js";
import { Server } from "./server.js";
import type { Client, Subject } from "./subject.js";
import { SUBJECTS } from "./subjects.js";

const ROUNDS = 5;
const HANDSHAKE_MS = 1500;
const REQUEST_MS = 1000;
const MESSAGE = new Uint8Array(100).fill(7);
const CHUNK = new Uint8Array(65_536).fill(7);
const UPLOAD_CHUNKS = 128;
/** The classes move 1–2 MB/s; their upload is smaller so that a round ends. */
const UPLOAD_CHUNKS_CLASSES = 16;
const IDLE_CONNECTIONS = 1000;
/** Connections that are opened at once; more only queue. */
const IDLE_BATCH = 20;

interface Context {
  readonly name: string;
  readonly subject: Subject;
  readonly pki: BenchmarkPki;
  readonly server: Server;
}

/** Mutual-TLS handshakes, round trips and throughput of all subjects, in interleaved rounds. */
export async function transports(): Promise<Figure[]> {
  const pki = await createBenchmarkPki();
  const samples = new Map<string, { figure: Omit<Figure, "value">; values: number[] }>();
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, load] of Object.entries(SUBJECTS)) {
      await using server = await Server.start(name, pki);
      for (const { value, ...figure } of await measureSubject({ name, subject: await load(), pki, server })) {
        const key = `${name} ${figure.measure}`;
        const sample = samples.get(key) ?? { figure, values: [] };
        samples.set(key, sample);
        sample.values.push(value);
      }
    }
  }
  return [...samples.values()].map(({ figure, values }) => ({ ...figure, value: median(values) }));
}

/** Resident memory of a server per idle mutual-TLS connection. */
export async function idleMemory(): Promise<Figure[]> {
  const pki = await createBenchmarkPki();
  const figures: Figure[] = [];
  for (const [name, load] of Object.entries(SUBJECTS)) {
    const subject = await load();
    await using server = await Server.start(name, pki);
    const warm = await openAll({ name, subject, pki, server }, IDLE_BATCH);
    const before = await server.usage();
    const clients = await openAll({ name, subject, pki, server }, IDLE_CONNECTIONS);
    const after = await server.usage();
    const value = (after.rssBytes - before.rssBytes) / IDLE_CONNECTIONS / 1024;
    figures.push({
      benchmark: "idle-memory",
      subject: name,
      measure: "RSS per idle connection",
      value,
      unit: "KiB",
    });
    await Promise.allSettled([...warm, ...clients].map(async (client) => client.close()));
  }
  return figures;
}

async function measureSubject(context: Context): Promise<Figure[]> {
  const { name } = context;
  const figures: Figure[] = [];
  const add = (measure: string, value: number, unit: string): void => {
    figures.push({ benchmark: "transports", subject: name, measure, value, unit });
  };
  add("mutual-TLS handshakes with one echo", await handshakesPerSecond(context), "1/s");
  const client = await context.subject.connect(context.pki, context.server.port);
  const echo = await client.openEcho();
  add("round trips on one stream, 100 B", await perSecond(REQUEST_MS, 1, () => echo(MESSAGE)), "1/s");
  const { request } = client;
  if (request !== undefined) {
    for (const concurrency of [1, 32]) {
      const value = await perSecond(REQUEST_MS, concurrency, () => request(MESSAGE));
      add(`requests, a stream each, ${concurrency} at a time`, value, "1/s");
    }
  }
  await client.close();
  const { megabytesPerSecond, cpuMsPerMegabyte } = await upload(context);
  add("upload on one stream", megabytesPerSecond, "MB/s");
  add("CPU of both sides per MB", cpuMsPerMegabyte, "ms");
  return figures;
}

async function handshakesPerSecond({ subject, pki, server }: Context): Promise<number> {
  return perSecond(HANDSHAKE_MS, 1, async () => {
    const client = await subject.connect(pki, server.port);
    await (
      await client.openEcho()
    )(MESSAGE);
    void client.close().catch(() => undefined);
  });
}

/** Run `work` over and over for a while, so many at a time; calls a second. */
async function perSecond(
  durationMs: number,
  concurrency: number,
  work: () => Promise<void>,
): Promise<number> {
  await work();
  const start = performance.now();
  let count = 0;
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (performance.now() - start < durationMs) {
        await work();
        count++;
      }
    }),
  );
  return (count * 1000) / (performance.now() - start);
}

async function upload(context: Context): Promise<{ megabytesPerSecond: number; cpuMsPerMegabyte: number }> {
  const chunks = context.name.includes("classes") ? UPLOAD_CHUNKS_CLASSES : UPLOAD_CHUNKS;
  const client = await context.subject.connect(context.pki, context.server.port);
  const megabytes = (chunks * CHUNK.length) / 1e6;
  const serverBefore = (await context.server.usage()).cpuMs;
  const own = process.cpuUsage();
  const start = performance.now();
  await client.upload(CHUNK, chunks);
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(own);
  const cpuMs = (user + system) / 1000 + (await context.server.usage()).cpuMs - serverBefore;
  await client.close();
  return { megabytesPerSecond: megabytes / seconds, cpuMsPerMegabyte: cpuMs / megabytes };
}

async function openAll({ subject, pki, server }: Context, count: number): Promise<Client[]> {
  const clients: Client[] = [];
  while (clients.length < count) {
    const batch = Array.from({ length: IDLE_BATCH }, async () => {
      const client = await subject.connect(pki, server.port);
      await (
        await client.openEcho()
      )(MESSAGE);
      return client;
    });
    clients.push(...(await Promise.all(batch)));
  }
  return clients;
}
