import type { StoreConfig } from "../config/config.js";
import type { StorePlace } from "./store-state.js";

/** Where a store is, for people: never with a password. */
export function storeName(store: StoreConfig): string {
  if (store.type === "local") return "the vault folder";
  if (store.type === "etcd") return `${store.endpoints.join(", ")} under "${store.prefix}"`;
  return "file" in store.url ? `the database of "${store.url.file}"` : databaseName(store.url.reveal());
}

/** Where a store is, for another store to remember; undefined when that would tell a password, or only one host can open it. */
export function storePlace(store: StoreConfig): StorePlace | undefined {
  if (store.type === "local") return undefined;
  if (store.type === "etcd") return { type: "etcd", endpoints: [...store.endpoints], prefix: store.prefix };
  return "file" in store.url ? { type: "sql", url: { file: store.url.file } } : undefined;
}

function databaseName(url: string): string {
  try {
    const { protocol, host, pathname } = new URL(url);
    return `${protocol}//${host}${pathname}`;
  } catch {
    return "a database";
  }
}
