import { systemClock } from "@rk8s/host";
import { RksError } from "@rk8s/protocol";
import { memoryStorage } from "@rk8s/storage";
import { z } from "zod";
import type { Answer, Backend, PathRequest } from "../../vault/backend.js";
import { type BackendPath, operation, type PathOperation, PathTable } from "../../vault/path-table.js";
import { openVault, type Vault } from "../../vault/vault.js";

export interface EchoVault extends AsyncDisposable {
  readonly vault: Vault;
  readonly rootToken: string;
  readonly share: string;
}

/** An unsealed vault in memory with an engine at `echo/` that answers whatever a test wants to see over HTTP. */
export async function anEchoVault(): Promise<EchoVault> {
  const vault = await openVault(
    {
      storage: memoryStorage(),
      backends: { echo: () => Promise.resolve(echoBackend()) },
      version: "1.14.10",
      storageType: () => "memory",
      cluster: () => ({ name: "test", id: "3fc725a7-2b26-8b1e-9a44-a48f4f3557c5" }),
    },
    { clock: systemClock },
  );
  const { shares, rootToken } = await vault.init({ shares: 1, threshold: 1 });
  const share = shares[0]?.reveal() ?? "";
  await vault.unseal(share);
  await vault.write(rootToken, "sys/mounts/echo", { type: "echo" });
  return {
    vault,
    rootToken: rootToken.reveal(),
    share,
    [Symbol.asyncDispose]: () => vault[Symbol.asyncDispose](),
  };
}

/** What a request was, as `data`. */
function describe({ operation: asked, path, data, parameters, caller, connection }: PathRequest): Answer {
  const bytes =
    data["request"] instanceof Uint8Array ? Buffer.from(data["request"]).toString("hex") : undefined;
  return {
    data: {
      asked,
      path,
      sent: bytes === undefined ? data : { bytes },
      parameters,
      by: caller?.token.entry.displayName ?? null,
      chain: (connection.clientCertificates ?? []).length,
      from: connection.remoteAddress ?? null,
    },
  };
}

const open = (handle: (request: PathRequest) => Answer | undefined): PathOperation =>
  operation({ access: "anyone", summary: "Answer.", fields: z.looseObject({}), handle });
const guarded = (handle: (request: PathRequest) => Answer | undefined): PathOperation =>
  operation({ summary: "Answer.", fields: z.looseObject({}), handle });

const LAST_MODIFIED = Date.UTC(2026, 10, 21, 12, 0, 0, 500);

const PATHS: readonly BackendPath[] = [
  {
    pattern: "open/*rest",
    operations: Object.fromEntries(
      (["read", "update", "patch", "delete", "list", "scan"] as const).map((verb) => [verb, open(describe)]),
    ),
  },
  {
    pattern: "guarded/*rest",
    operations: Object.fromEntries(
      (["read", "update", "patch", "delete", "list", "scan"] as const).map((verb) => [
        verb,
        guarded(describe),
      ]),
    ),
  },
  { pattern: "read-only", operations: { read: open(describe) } },
  {
    pattern: "nothing",
    operations: {
      read: open(() => undefined),
      update: open(() => undefined),
      delete: open(() => undefined),
      list: open(() => undefined),
    },
  },
  { pattern: "empty", operations: { list: open(() => ({ data: { keys: [] } })) } },
  {
    pattern: "keys",
    operations: { list: open(({ data }) => ({ data: { keys: ["a", "b/"], sent: data } })) },
  },
  { pattern: "bare", operations: { read: open(() => ({ data: { a: 1 }, form: "bare" })) } },
  {
    pattern: "repeated",
    operations: { read: open(() => ({ data: { a: 1, lease_id: "mine" }, form: "repeated" })) },
  },
  { pattern: "deleted", operations: { read: open(() => ({ data: { data: null }, status: 404 })) } },
  { pattern: "warned", operations: { update: open(() => ({ warnings: ["careful"] })) } },
  {
    pattern: "raw",
    operations: {
      read: open(() => ({
        raw: {
          contentType: "application/pkix-crl",
          body: new Uint8Array([1, 2, 3]),
          lastModifiedMs: LAST_MODIFIED,
        },
      })),
    },
  },
  {
    pattern: "raw-empty",
    operations: { read: open(() => ({ raw: { contentType: "text/plain", body: "" } })) },
  },
  {
    pattern: "fail/:code",
    operations: {
      read: open(({ parameters }) => {
        if (parameters["code"] === "crash") throw new Error("secret detail");
        throw new RksError(parameters["code"] as "INTERNAL", "what failed", { suggestion: "Do better." });
      }),
    },
  },
  { pattern: "ocsp", operations: { update: open(describe) } },
  { pattern: "ocsp/:request", operations: { read: open(describe) } },
];

function echoBackend(): Backend {
  return { paths: new PathTable(PATHS), [Symbol.asyncDispose]: () => Promise.resolve() };
}
