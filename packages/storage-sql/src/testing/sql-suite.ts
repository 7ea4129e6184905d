import { afterAll, beforeAll, describe } from "vitest";

import { missingFor, startSqlServer } from "./sql-server.js";
import type { SqlServer, SqlServerInit, SqlServerKind } from "./sql-server.js";

/** Databases are made and filled on a disk that may be busy. */
const START_MS = 120_000;
const TEST_MS = 60_000;

/** A suite on a server of its own. Where that is not installed it is skipped, loudly: `SKIPPED (needs mariadb-server)`. */
export function suiteOn(
  kind: SqlServerKind,
  name: string,
  define: (server: () => SqlServer) => void,
  init?: () => Promise<SqlServerInit>,
): void {
  const missing = missingFor(kind);
  if (missing !== undefined) {
    describe.skip(`${kind}: ${name} (needs ${missing})`, () => define(absent));
    return;
  }
  describe(`${kind}: ${name}`, { timeout: TEST_MS }, () => {
    let server: SqlServer | undefined;
    beforeAll(async () => {
      server = await startSqlServer(kind, await init?.());
    }, START_MS);
    afterAll(() => server?.[Symbol.asyncDispose](), START_MS);
    define(() => server ?? absent());
  });
}

function absent(): never {
  throw new Error("the server is not up");
}
