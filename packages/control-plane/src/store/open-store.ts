import { readFile } from "node:fs/promises";
import { type Clock, type ErrorCode, type Logger, RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import type { EtcdStorage } from "@rk8s/storage/etcd";
import { openLmdbStorage } from "@rk8s/storage/lmdb";
import type { ExternalStoreConfig } from "../config/config.js";
import { isOpenToOthers } from "../config/secret-file.js";
import type { VaultFolder } from "../lifecycle/vault-folder.js";
import { NO_MEMBERS, type StoreOpeners } from "./choose-store.js";
import { readStoreCredentials } from "./store-credentials.js";

/** A URL is a line; a password in it is not longer. */
const MAX_URL_CHARACTERS = 4096;
/** Optional: whoever needs no database does not install it. */
const SQL_PACKAGE = "@rk8s/storage-sql";

/** The store and rks do not know each other's CA. */
const STRANGERS: ReadonlySet<ErrorCode> = new Set(["SERVER_UNTRUSTED", "CLIENT_CERTIFICATE_REFUSED"]);

export interface OpenStorePorts {
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Opens stores as configs name them; an adapter is loaded when it is needed first. */
export function storeOpeners(folder: VaultFolder, ports: OpenStorePorts): StoreOpeners {
  const open = new Set<EtcdStorage>();
  /** Open ones that show who they are. */
  const shown = new Set<EtcdStorage>();
  return {
    openFolder: (path) => openLmdbStorage({ folder: path }),
    openExternal: async (store) => {
      if (store.type === "sql") return openSql(store, ports);
      const opened = await openEtcd(store, folder, ports);
      open.add(opened);
      if (!isInClear(store)) shown.add(opened);
      const close = opened[Symbol.asyncDispose].bind(opened);
      opened[Symbol.asyncDispose] = () => {
        open.delete(opened);
        shown.delete(opened);
        return close();
      };
      return opened;
    },
    membersOf: (storage) => [...open].find((one) => one === storage)?.endpoints ?? [],
    useCredentials: async () => {
      if (shown.size === 0) return;
      const credentials = await readStoreCredentials(folder);
      try {
        await Promise.all([...shown].map((storage) => storage.useCredentials(credentials)));
      } finally {
        credentials.privateKey.fill(0);
      }
    },
    tryCredentials: async (make) => {
      if (shown.size === 0) return NO_MEMBERS;
      const credentials = await make();
      try {
        const trials = await Promise.all([...shown].map((storage) => storage.tryCredentials(credentials)));
        const all = trials.flat();
        const behind = all.flatMap(({ url, error }) =>
          error === undefined ? [] : [{ endpoint: url, code: error.code }],
        );
        const certificates = all.flatMap(({ url, certificate }) =>
          certificate === undefined ? [] : [{ endpoint: url, ...certificate }],
        );
        return { members: all.length, behind, certificates };
      } finally {
        credentials.privateKey.fill(0);
      }
    },
  };
}

type Etcd = ExternalStoreConfig & { readonly type: "etcd" };

function isInClear({ endpoints }: Etcd): boolean {
  return endpoints.every((endpoint) => endpoint.startsWith("http:"));
}

async function openEtcd(store: Etcd, folder: VaultFolder, ports: OpenStorePorts): Promise<EtcdStorage> {
  const { openEtcdStorage } = await import("@rk8s/storage/etcd");
  const { endpoints, prefix } = store;
  if (isInClear(store)) return openEtcdStorage({ endpoints, prefix, ...ports });
  const credentials = await readStoreCredentials(folder);
  try {
    return await openEtcdStorage({ endpoints, prefix, credentials, ...ports });
  } catch (reason) {
    throw reason instanceof RksError && STRANGERS.has(reason.code) ? strangers(reason) : reason;
  } finally {
    credentials.privateKey.fill(0);
  }
}

function strangers(cause: RksError): RksError {
  return new RksError(cause.code, cause.message, {
    cause,
    suggestion:
      'Make root.pem of the vault folder and ca.pem of the members name each other\'s roots, as docs/operations.md has it under "When rks and its store do not trust each other".',
  });
}

interface SqlPackage {
  readonly openSqlStorage: (init: { readonly url: string } & OpenStorePorts) => Promise<Storage>;
}

async function openSql(
  { url }: ExternalStoreConfig & { readonly type: "sql" },
  ports: OpenStorePorts,
): Promise<Storage> {
  const text = "file" in url ? await readUrl(url.file, ports.logger) : url.reveal();
  let adapter: SqlPackage;
  try {
    adapter = (await import(SQL_PACKAGE)) as SqlPackage;
  } catch (cause) {
    throw new RksError(
      "CONFIG_INVALID",
      `sql_config needs the package ${SQL_PACKAGE}, which is not installed`,
      {
        cause,
        suggestion: `Run \`npm install ${SQL_PACKAGE}\` where rks is installed.`,
      },
    );
  }
  return adapter.openSqlStorage({ url: text, ...ports });
}

async function readUrl(file: string, logger: Logger): Promise<string> {
  let text: string;
  try {
    text = (await readFile(file, "utf8")).trim();
  } catch (cause) {
    throw new RksError("CONFIG_INVALID", `cannot read "${file}" of sql_config.url_file`, {
      cause,
      suggestion: "Write the database's URL into it, and let only the user of rks read it.",
    });
  }
  if (await isOpenToOthers(file)) {
    logger.warn("URL of the database is open to other users: make its file 0600", { file });
  }
  if (text !== "" && text.length <= MAX_URL_CHARACTERS) return text;
  throw new RksError("CONFIG_INVALID", `"${file}" does not hold the URL of a database`, {
    suggestion: "Write one line like postgres://rks:password@db:5432/rks.",
  });
}
