import { type Clock, fromUtf8, utf8 } from "@rk8s/protocol";
import { type Comparison, Lease, type Storage, type Write } from "@rk8s/storage";

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

/** What a process tells of itself. */
interface Announced extends Member {
  /** As `VaultInit`. */
  readonly host?: string | undefined;
}

/** A number that somebody has. */
export interface TakenPlace extends Member {
  /** Of its record. */
  readonly key: string;
  /** Empty until it serves agents, and of a process without one. */
  readonly host: string;
  /** What is compared to know that its holder has not stirred since. */
  readonly asSeen: readonly Comparison[];
}

/** Whether a key of the store tells of those who have it open, which holds for this store alone. */
export function isOfMembers(key: string): boolean {
  return key.startsWith(MEMBERS_PREFIX) || key === STEWARD_KEY || key.startsWith(`${STEWARD_KEY}/`);
}

/** Whether a key is the record of who has a number. */
export function isPlace(key: string): boolean {
  return PLACE.test(key);
}

/** The write with which who has the number of that record tells the others of itself. */
export function announcement(place: string, { id, address, host = "" }: Announced): Write {
  return { type: "put", key: `${place}/address`, value: utf8([id, address, host].join(" ")) };
}

/** All numbers that somebody has, also one that is gone without a word for the time to live. */
export async function readPlaces(storage: Pick<Storage, "list">): Promise<readonly TakenPlace[]> {
  const { entries } = await storage.list(MEMBERS_PREFIX);
  const all = new Map(entries.map((entry) => [entry.key, entry]));
  return entries.flatMap(({ key, value, modRevision }) => {
    const id = fromUtf8(value);
    if (!isPlace(key) || id === "") return [];
    const announced = all.get(`${key}/address`);
    const [by, address = "", host = ""] = announced === undefined ? [] : fromUtf8(announced.value).split(" ");
    const beat = { key: `${key}/beat`, modRevision: all.get(`${key}/beat`)?.modRevision ?? 0 };
    const told = by === id ? { address, host } : { address: "", host: "" };
    return [{ id, key, ...told, asSeen: [{ key, modRevision }, beat] }];
  });
}

/** Everybody who has a number at a store, as `readPlaces`. */
export async function readMembers(storage: Pick<Storage, "list">): Promise<readonly Member[]> {
  return (await readPlaces(storage)).map(({ id, address }) => ({ id, address }));
}

/**
 * Take the number from everybody who is silent for the whole time to live, which is waited for: whatever they send later is
 * not done. Gives those that are alive.
 */
export async function expelSilent(storage: Storage, clock: Clock): Promise<readonly Member[]> {
  const places = await readPlaces(storage);
  const leases = places.map(
    ({ key }) => new Lease({ storage, clock, key, holder: "nobody", ttlMs: MEMBER_TTL_MS }),
  );
  for (const lease of leases) await lease.tryFree();
  if (leases.length > 0) await clock.sleep(MEMBER_TTL_MS);
  for (const lease of leases) await lease.tryFree();
  return readMembers(storage);
}
