import type { Storage } from "@rk8s/storage";
import { storeInUse } from "../vault/members/in-use.js";
import { readMembers } from "../vault/members/membership.js";
import type { MovedVault } from "./store-mover.js";

/**
 * Check that no other rks has the store open: it would go on writing to what is left. One that was killed counts until its
 * place is free again, some 15 s; not the one before this at the same address. A store that is not shared is not looked at.
 * With `isAnnounced` only those count that serve; one that is starting, or was killed in that, is met by the migration itself.
 * @throws {RksError} CONFLICT naming them.
 */
export async function assertAlone(
  source: Pick<Storage, "list">,
  { memberId }: Pick<MovedVault, "memberId">,
  { isAnnounced = false }: { readonly isAnnounced?: boolean } = {},
): Promise<void> {
  const self = memberId?.() ?? "";
  if (self === "") return;
  const members = await readMembers(source);
  const own = members.find(({ id }) => id === self)?.address ?? "";
  const others = members.filter(
    ({ id, address }) => id !== self && (address === "" ? !isAnnounced : address !== own),
  );
  if (others.length === 0) return;
  throw storeInUse(
    others,
    "Stop it (one that was killed counts for 15 s more), move the store with the one that is left, then start it with the new config.",
  );
}
