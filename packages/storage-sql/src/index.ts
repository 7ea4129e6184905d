export { openSqlStorage } from "./open-sql-storage.js";
export type { SqlStoragePorts } from "./open-sql-storage.js";
export type { SqlStorageInit, SqlTls } from "./sql-target.js";
