import { readFile } from "node:fs/promises";
import { RksError } from "@rk8s/protocol";
import { z } from "zod";
import type { StoreConfig } from "../config/config.js";
import { exists, writeDurably } from "../lifecycle/durable-file.js";
import { storeName } from "./store-name.js";

const homeRecord = z.object({
  version: z.literal(1),
  /** Which vault; see `vaultIdOf`. */
  vault: z.string(),
  /** The highest epoch that this host has seen: an older state of the store is noticed by it. */
  epoch: z.int().min(0),
  type: z.enum(["local", "etcd", "sql"]),
  /** Where, for people. */
  store: z.string(),
  since: z.string(),
});

/** What a vault folder knows of the store: where it is, and how new it must be. */
export type StoreHome = z.output<typeof homeRecord>;

/** Read it; undefined for a folder whose store has always been in it. @throws {RksError} CONFIG_INVALID. */
export async function readHome(file: string): Promise<StoreHome | undefined> {
  if (!(await exists(file))) return undefined;
  try {
    return homeRecord.parse(JSON.parse(await readFile(file, "utf8")));
  } catch (cause) {
    throw new RksError("CONFIG_INVALID", `"${file}" is not what rks wrote`, {
      cause,
      suggestion: "Restore it from a backup, or move it away when the config names the store of this vault.",
    });
  }
}

/** What a vault folder is to know from `now` on: that the vault is at a store, in an epoch. */
export function homeAt(at: StoreConfig, seen: Pick<StoreHome, "vault" | "epoch">, now: number): StoreHome {
  const { vault, epoch } = seen;
  return {
    version: 1,
    vault,
    epoch,
    type: at.type,
    store: storeName(at),
    since: new Date(now).toISOString(),
  };
}

/** @throws {RksError} STORAGE_FULL, STORAGE_UNWRITABLE. */
export async function writeHome(file: string, home: StoreHome): Promise<void> {
  await writeDurably(file, `${JSON.stringify(home)}\n`, { mode: 0o600 });
}
