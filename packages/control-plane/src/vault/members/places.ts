import { type Clock, fromUtf8 } from "@rk8s/protocol";
import { Lease, type Storage } from "@rk8s/storage";

/** Below the barrier, because a process needs its number before it opens that. */
export const MEMBERS_PREFIX = "core/members/";
export const STEWARD_KEY = "core/steward";
/** Long enough for a collection of garbage and an election of the store's leader, short enough to wait for. */
export const MEMBER_TTL_MS = 9_000;

/** The record of who has a number; what is below it is about that one. */
const PLACE = /^core\/members\/\d+$/;

/** A process that has the store open. */
export interface Member {
  /** Of this opening; never the same twice. */
  readonly id: string;
  /** Where agents reach it; empty until it serves them. */
  readonly address: string;
}

/** Whether a key of the store tells of those who have it open, which holds for this store alone. */
export function isOfMembers(key: string): boolean {
  return key.startsWith(MEMBERS_PREFIX) || key === STEWARD_KEY || key.startsWith(`${STEWARD_KEY}/`);
}

/** Whether a key is the record of who has a number. */
export function isPlace(key: string): boolean {
  return PLACE.test(key);
}

/** Everybody who has a number at a store, also one that is gone without a word for the time to live. */
export async function readMembers(storage: Pick<Storage, "list">): Promise<readonly Member[]> {
  const { entries } = await storage.list(MEMBERS_PREFIX);
  const texts = new Map(entries.map(({ key, value }) => [key, fromUtf8(value)]));
  return [...texts].flatMap(([key, id]) => {
    if (!isPlace(key) || id === "") return [];
    const [announcedBy, address = ""] = (texts.get(`${key}/address`) ?? "").split(" ");
    return [{ id, address: announcedBy === id ? address : "" }];
  });
}

/**
 * Take the number from everybody who is silent for the whole time to live, which is waited for: whatever they send later is
 * not done. Gives those that are alive.
 */
export async function expelSilent(storage: Storage, clock: Clock): Promise<readonly Member[]> {
  const { entries } = await storage.list(MEMBERS_PREFIX);
  const held = entries.filter(({ key, value }) => isPlace(key) && value.byteLength > 0);
  const leases = held.map(
    ({ key }) => new Lease({ storage, clock, key, holder: "nobody", ttlMs: MEMBER_TTL_MS }),
  );
  for (const lease of leases) await lease.tryFree();
  if (leases.length > 0) await clock.sleep(MEMBER_TTL_MS);
  for (const lease of leases) await lease.tryFree();
  return readMembers(storage);
}
