import type { Storage } from "@rk8s/storage";
import { storeInUse } from "../vault/members/in-use.js";
import { readMembers } from "../vault/members/places.js";
import type { MovedVault } from "./store-mover.js";

/**
 * Check that no other rks has the store open: it would go on writing to what is left. One that was killed counts until its
 * place is free again, some 15 s; nobody else's word, nor its address, says that it is dead. A store that is not shared is not
 * looked at: in a vault folder a number may be left of a process that was killed after it had moved the vault there. With
 * `isFirstLook` only those count that the migration will not deal with itself: it waits for one that is starting, or was killed
 * in that, and expels the dead ones of this host.
 * @throws {RksError} CONFLICT naming them.
 */
export async function assertAlone(
  source: Pick<Storage, "list">,
  { members }: Pick<MovedVault, "members">,
  { isFirstLook = false }: { readonly isFirstLook?: boolean } = {},
): Promise<void> {
  const self = members?.();
  if (self === undefined || self.id === "") return;
  const others = (await readMembers(source)).filter(({ id }) => id !== self.id);
  const met = isFirstLook
    ? others.filter(({ id, address }) => address !== "" && !self.before.includes(id))
    : others;
  if (met.length === 0) return;
  throw storeInUse(
    met,
    "Stop it (one that was killed counts for 15 s more), move the store with the one that is left, then start it with the new config.",
  );
}
