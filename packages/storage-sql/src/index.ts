export { openSqlStorage } from "./open-sql-storage.js";
export type { SqlStorageInit } from "./open-sql-storage.js";
export type { SqlAddress } from "./sql-target.js";
export type { SqlTls } from "./tls.js";
