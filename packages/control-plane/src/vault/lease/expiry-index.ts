import type { Storage } from "@rk8s/storage";
import { readTimeKey } from "./lease-keys.js";

const PAGE = 100;

/** Something whose time has come. */
export interface Due {
  /** Of its entry in the index. */
  readonly key: string;
  readonly dueAtMs: number;
  readonly id: string;
}

/** A page of what is due. */
export interface DuePage {
  readonly due: readonly Due[];
  /** Where the next page begins; undefined when everything that is due was read. */
  readonly after: string | undefined;
  /** When the first thing is due that is not yet, milliseconds since the epoch; undefined when there is none. */
  readonly nextAtMs: number | undefined;
}

/** What ends by itself: tokens and leases. */
export interface Expiring {
  /** What is due, the longest overdue first, a page at a time. */
  due(after: string | undefined): Promise<DuePage>;
  /** End it. Not there any more, or not due any more: nothing happens. */
  expire(due: Due): Promise<void>;
}

/** Read a page of an index by time. */
export async function readDue(
  storage: Storage,
  prefix: string,
  options: { readonly nowMs: number; readonly after: string | undefined },
): Promise<DuePage> {
  const { nowMs, after } = options;
  const page = await storage.list(prefix, { limit: PAGE, ...(after === undefined ? {} : { after }) });
  const due: Due[] = [];
  for (const { key } of page.entries) {
    const read = readTimeKey(prefix, key);
    if (read === undefined) continue;
    if (read.dueAtMs > nowMs) return { due, after: undefined, nextAtMs: read.dueAtMs };
    due.push({ key, ...read });
  }
  return { due, after: page.more ? page.entries.at(-1)?.key : undefined, nextAtMs: undefined };
}
