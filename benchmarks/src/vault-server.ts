import { readFileSync } from "node:fs";
import { Client, type Dispatcher } from "undici";
import { ControlPlane, type StartOptions } from "./control-plane.js";

/** A Vault-compatible server under load: ours, or another one by its address. */
export interface VaultServer extends AsyncDisposable {
  /** What the tables call it. */
  readonly name: string;
  /** A connection of its own, kept alive; one request at a time. */
  connect(): VaultConnection;
  /** CPU time of the process so far; undefined where it is not ours to see. */
  readonly cpuMs: number | undefined;
}

/** A server that is a process of ours. */
export interface OwnServer extends VaultServer {
  readonly residentMib: number;
  /** What of it is the process's own, not pages of files that the system can drop. */
  readonly privateMib: number;
  /** Kill it and start it on the same folder; gives the milliseconds until it answers. */
  restart(): Promise<number>;
}

/** Documents that are not JSON come back as bytes under `raw`. */
export interface VaultConnection extends AsyncDisposable {
  /** The `data` of the answer. @throws Error with the server's words when it refuses. */
  ask(
    method: "GET" | "POST" | "PUT" | "DELETE",
    path: string,
    body?: object,
  ): Promise<Record<string, unknown>>;
  /** Bytes both ways. */
  exchange(path: string, body?: { readonly type: string; readonly bytes: Uint8Array }): Promise<Uint8Array>;
}

interface Where {
  readonly address: string;
  readonly token: string;
  readonly ca: string | undefined;
}

/**
 * A fresh `rks`, and the server that BENCH_VAULT_ADDR, BENCH_VAULT_TOKEN and BENCH_VAULT_CACERT name besides, so that
 * two can be measured in one run. A file audit device writes for both.
 */
export async function vaultServers(): Promise<readonly VaultServer[]> {
  const servers: VaultServer[] = [await ownServer()];
  const { BENCH_VAULT_ADDR, BENCH_VAULT_TOKEN = "", BENCH_VAULT_CACERT } = process.env;
  if (BENCH_VAULT_ADDR !== undefined) {
    const ca = BENCH_VAULT_CACERT === undefined ? undefined : readFileSync(BENCH_VAULT_CACERT, "utf8");
    const where = { address: BENCH_VAULT_ADDR, token: BENCH_VAULT_TOKEN, ca };
    servers.push({
      name: new URL(BENCH_VAULT_ADDR).host,
      connect: () => connection(where),
      cpuMs: undefined,
      [Symbol.asyncDispose]: () => Promise.resolve(),
    });
  }
  return servers;
}

/** An `rks` of its own folder, with what can be asked of a process of ours. */
export async function ownServer(options: StartOptions = {}): Promise<OwnServer> {
  let rks = await ControlPlane.start({ ...options, keepSecrets: true });
  const where = (): Where => ({
    address: rks.httpAddress,
    token: rks.rootToken,
    ca: readFileSync(rks.rootCertPath, "utf8"),
  });
  {
    await using first = connection(where());
    await first.ask("PUT", "sys/audit/bench", {
      type: "file",
      options: { file_path: rks.pathOf("vault-audit.log") },
    });
  }
  return {
    name: "rks",
    connect: () => connection(where()),
    get cpuMs() {
      return rks.cpuMs;
    },
    get residentMib() {
      return rks.residentMib;
    },
    get privateMib() {
      return rks.privateMib;
    },
    restart: async () => {
      const begun = performance.now();
      rks = await rks.restart();
      await using after = connection(where());
      await after.ask("GET", "auth/token/lookup-self");
      return performance.now() - begun;
    },
    [Symbol.asyncDispose]: () => rks[Symbol.asyncDispose](),
  };
}

function connection({ address, token, ca }: Where): VaultConnection {
  const client = new Client(address, {
    pipelining: 1,
    connect: ca === undefined ? {} : { ca },
    bodyTimeout: 120_000,
    headersTimeout: 120_000,
  });
  const authorized = ["x-vault-token", token];
  return {
    ask: async (method, path, body) => {
      const sent = body === undefined ? null : JSON.stringify(body);
      const answer = await exchange(client, { method, path: `/v1/${path}`, headers: authorized, body: sent });
      if (answer.status >= 300)
        throw new Error(`${method} ${path}: ${answer.status} ${answer.body.toString()}`);
      if (answer.body.length === 0) return {};
      const { data } = JSON.parse(answer.body.toString()) as { data?: Record<string, unknown> | null };
      return data ?? {};
    },
    exchange: async (path, body) => {
      const headers = body === undefined ? [] : ["content-type", body.type];
      const method = body === undefined ? "GET" : "POST";
      const answer = await exchange(client, {
        method,
        path: `/v1/${path}`,
        headers,
        body: body?.bytes ?? null,
      });
      if (answer.status >= 300) throw new Error(`${path}: ${answer.status}`);
      return answer.body;
    },
    [Symbol.asyncDispose]: () => client.close(),
  };
}

/** A request and its answer, without the streams that `client.request` makes: the load must cost the server's cores little. */
function exchange(
  client: Client,
  request: Dispatcher.DispatchOptions,
): Promise<{ status: number; body: Buffer }> {
  return new Promise((resolve, reject) => {
    let status = 0;
    const chunks: Buffer[] = [];
    client.dispatch(request, {
      onRequestStart: () => undefined,
      onResponseStart: (_controller, statusCode) => void (status = statusCode),
      onResponseData: (_controller, chunk) => void chunks.push(chunk),
      onResponseEnd: () =>
        resolve({ status, body: chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks) }),
      onResponseError: (_controller, error) => reject(error),
    });
  });
}
