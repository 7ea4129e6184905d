import { silentLogger } from "@rk8s/protocol";
import type { LogFields, Logger } from "@rk8s/protocol";
import { systemClock } from "@rk8s/host";
import type { Storage, Write } from "@rk8s/storage";

import { openSqlStorage } from "../open-sql-storage.js";
import type { SqlAddress } from "../sql-target.js";

/** Open a storage on the real clock. */
export function open(url: string, address: Partial<SqlAddress> = {}): Promise<Storage> {
  return openSqlStorage({ url, ...address, clock: systemClock, logger: silentLogger });
}

/** A logger that remembers what it was told. */
export function recordingLogger(): Logger & { readonly lines: string[] } {
  const lines: string[] = [];
  const note = (message: string, fields?: LogFields): void => {
    lines.push(`${message} ${JSON.stringify(fields)}`);
  };
  return { lines, debug: note, info: note, warn: note, error: note };
}

export function put(key: string, value: string | Uint8Array): Write {
  return { type: "put", key, value: typeof value === "string" ? Buffer.from(value) : value };
}

export function text(value: Uint8Array | undefined): string | undefined {
  return value === undefined ? undefined : Buffer.from(value).toString();
}
