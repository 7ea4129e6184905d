import type { StoreConfig } from "../config/config.js";

/** Where a store is, for people: never with a password. */
export function storeName(store: StoreConfig): string {
  if (store.type === "local") return "the vault folder";
  if (store.type === "etcd") return `${store.endpoints.join(", ")} under "${store.prefix}"`;
  return "file" in store.url ? `the database of "${store.url.file}"` : databaseName(store.url.reveal());
}

function databaseName(url: string): string {
  try {
    const { protocol, host, pathname } = new URL(url);
    return `${protocol}//${host}${pathname}`;
  } catch {
    return "a database";
  }
}
