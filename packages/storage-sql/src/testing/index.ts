export { missingFor, startSqlServer } from "./sql-server.js";
export type { SqlServer, SqlServerKind } from "./sql-server.js";
