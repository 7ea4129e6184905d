import { readFileSync } from "node:fs";
import { Client } from "undici";
import { ControlPlane } from "./control-plane.js";

/** A Vault-compatible server under load: ours, or another one by its address. */
export interface VaultServer extends AsyncDisposable {
  /** What the tables call it. */
  readonly name: string;
  /** A connection of its own, kept alive; one request at a time. */
  connect(): VaultConnection;
  /** CPU time of the process so far; undefined where it is not ours to see. */
  readonly cpuMs: number | undefined;
  readonly residentMib: number | undefined;
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
      residentMib: undefined,
      [Symbol.asyncDispose]: () => Promise.resolve(),
    });
  }
  return servers;
}

/** An `rks` of its own folder, with what can be asked of a process of ours. */
export async function ownServer(): Promise<VaultServer & { restart(): Promise<number> }> {
  let rks = await ControlPlane.start({ keepSecrets: true });
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
  const headers = { "x-vault-token": token };
  return {
    ask: async (method, path, body) => {
      const answer = await client.request({
        method,
        path: `/v1/${path}`,
        headers,
        body: body === undefined ? null : JSON.stringify(body),
      });
      const text = await answer.body.text();
      if (answer.statusCode >= 300) throw new Error(`${method} ${path}: ${answer.statusCode} ${text}`);
      if (text === "") return {};
      return (JSON.parse(text) as { data?: Record<string, unknown> | null }).data ?? {};
    },
    exchange: async (path, body) => {
      const answer = await client.request({
        method: body === undefined ? "GET" : "POST",
        path: `/v1/${path}`,
        headers: body === undefined ? {} : { "content-type": body.type },
        body: body?.bytes ?? null,
      });
      const bytes = await answer.body.bytes();
      if (answer.statusCode >= 300) throw new Error(`${path}: ${answer.statusCode}`);
      return bytes;
    },
    [Symbol.asyncDispose]: () => client.close(),
  };
}
