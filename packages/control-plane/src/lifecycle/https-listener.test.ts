import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import type { Credentials, Logger } from "@rk8s/protocol";
import { silentLogger } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { Metrics } from "../http/metrics.js";
import { anApi } from "../http/testing/an-api.js";
import { tlsIdentity } from "../http/testing/tls-identity.js";
import type { ServerIdentity } from "../http/https-server.js";
import { HttpsListener } from "./https-listener.js";

let first: ServerIdentity;
let second: ServerIdentity;
beforeAll(() => {
  first = tlsIdentity("first");
  second = tlsIdentity("second");
});

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-https-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const metrics = new Metrics({
  isSealed: () => false,
  isServing: () => true,
  figures: () => undefined,
  now: Date.now,
});
const tlsFiles = (): { readonly certFile: string; readonly keyFile: string } => ({
  certFile: join(folder, "https.pem"),
  keyFile: join(folder, "https.key"),
});

function aListener(
  options: { readonly clock?: FakeClock; readonly logger?: Logger; readonly own?: boolean } = {},
): HttpsListener {
  const { clock = new FakeClock(), logger = silentLogger, own = false } = options;
  const address = { host: "127.0.0.1", port: 0 };
  const init = { address, tls: own ? tlsFiles() : undefined, routes: [], api: anApi() };
  return new HttpsListener(init, { clock, logger, metrics });
}

async function writeFiles({ certificates, privateKey }: ServerIdentity): Promise<void> {
  const { certFile, keyFile } = tlsFiles();
  await writeFile(keyFile, privateKey);
  await writeFile(certFile, certificates);
}

function credentialsOf({ certificates, privateKey }: ServerIdentity): Credentials {
  const key = createPrivateKey(Buffer.from(privateKey));
  return {
    certificateChain: [new Uint8Array(new X509Certificate(certificates).raw)],
    privateKey: new Uint8Array(key.export({ format: "der", type: "pkcs8" })),
  };
}

/** Whose certificate a new connection sees. */
function servedBy(listener: HttpsListener): Promise<string> {
  const port = listener.address?.port ?? 0;
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false }, () => {
      resolve(socket.getPeerX509Certificate()?.subject ?? "");
      socket.destroy();
    });
    socket.once("error", reject);
  });
}

/** Let the listener look at its files once, and wait until it has. */
async function watcher(clock: FakeClock): Promise<() => Promise<void>> {
  let pauseMs = await clock.nextSleep();
  return async () => {
    clock.advance(pauseMs);
    pauseMs = await clock.nextSleep();
  };
}

/** A logger that keeps its errors. */
function errorsOf(): { readonly logger: Logger; readonly errors: string[] } {
  const errors: string[] = [];
  return { logger: { ...silentLogger, error: (message) => void errors.push(message) }, errors };
}

test("it opens with the cluster's certificate that was offered, though the key was wiped meanwhile, and takes the next", async () => {
  await using listener = aListener();
  const offered = credentialsOf(first);
  listener.offer(offered);
  offered.privateKey.fill(0);
  expect(listener.address).toBeUndefined();
  await listener.open();
  expect(await servedBy(listener)).toBe("CN=first");
  const { port } = listener.address ?? {};
  listener.offer(credentialsOf(second));
  await listener.open();
  expect(await servedBy(listener)).toBe("CN=second");
  expect(listener.address?.port).toBe(port);
});

test("a certificate of the cluster that does not work is said and changes nothing", async () => {
  const { logger, errors } = errorsOf();
  await using listener = aListener({ logger });
  listener.offer(credentialsOf(first));
  await listener.open();
  listener.offer({ ...credentialsOf(second), privateKey: credentialsOf(first).privateKey });
  expect(await servedBy(listener)).toBe("CN=first");
  expect(errors).toEqual(["HTTPS certificate could not be replaced"]);
});

test("files are used instead, and read again when they change", async () => {
  await writeFiles(first);
  const clock = new FakeClock();
  await using listener = aListener({ clock, own: true });
  listener.offer(credentialsOf(second));
  await listener.open();
  const look = await watcher(clock);
  expect(await servedBy(listener)).toBe("CN=first");
  await look();
  expect(await servedBy(listener)).toBe("CN=first");
  await writeFiles(second);
  await look();
  expect(await servedBy(listener)).toBe("CN=second");
});

test("files are read again at once when that is asked for, also when they are the same", async () => {
  await writeFiles(first);
  const { logger, errors } = errorsOf();
  await using listener = aListener({ logger, own: true });
  await listener.reload();
  await listener.open();
  await listener.reload();
  expect(await servedBy(listener)).toBe("CN=first");
  await writeFiles(second);
  await Promise.all([listener.reload(), listener.reload()]);
  expect(await servedBy(listener)).toBe("CN=second");
  await rm(tlsFiles().keyFile);
  await listener.reload();
  await listener.reload();
  expect(errors).toEqual(["HTTPS certificate could not be read", "HTTPS certificate could not be read"]);
  expect(await servedBy(listener)).toBe("CN=second");
});

test.each([
  { name: "not there", damage: () => rm(tlsFiles().certFile), said: "HTTPS certificate could not be read" },
  {
    name: "garbage",
    damage: () => writeFile(tlsFiles().certFile, "garbage"),
    said: "HTTPS certificate could not be replaced",
  },
  {
    name: "for another key",
    damage: () => writeFile(tlsFiles().certFile, second.certificates),
    said: "HTTPS certificate could not be replaced",
  },
])(
  "files that become $name are said once, what was used stays, and right ones count again",
  async ({ damage, said }) => {
    await writeFiles(first);
    const clock = new FakeClock();
    const { logger, errors } = errorsOf();
    await using listener = aListener({ clock, logger, own: true });
    await listener.open();
    const look = await watcher(clock);
    await damage();
    for (let i = 0; i < 3; i += 1) await look();
    expect(errors).toEqual([said]);
    expect(await servedBy(listener)).toBe("CN=first");
    await writeFiles(second);
    await look();
    expect(await servedBy(listener)).toBe("CN=second");
  },
);

test.each([
  { name: "missing", prepare: () => Promise.resolve(), named: "https.pem" },
  {
    name: "of two keys",
    prepare: () => writeFiles({ ...first, privateKey: second.privateKey }),
    named: "do not work",
  },
])("files that are $name at the start end it", async ({ prepare, named }) => {
  await prepare();
  await using listener = aListener({ own: true });
  await expect(listener.open()).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringContaining(named),
  });
  expect(listener.address).toBeUndefined();
});

test("a disposed one stays closed, whatever comes", async () => {
  const listener = aListener();
  await listener[Symbol.asyncDispose]();
  listener.offer(credentialsOf(first));
  await listener.open();
  expect(listener.address).toBeUndefined();
});
