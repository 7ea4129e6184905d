import type { Clock, Logger } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import type { AuditLog } from "../audit/audit-log.js";
import { audited } from "../audit/audited.js";
import type { JoinTokenStore } from "../join/join-token-store.js";
import type { VaultStores } from "../lifecycle/vault-stores.js";
import type { MovedVault } from "../migration/store-mover.js";
import { adoptionWrite } from "../nodes/adoption.js";

const ACTOR = "rks (restore)";

export interface SettlePorts {
  readonly cluster: { readonly joinTokens: Pick<JoinTokenStore, "list" | "revoke"> };
  readonly barrier: Storage;
  readonly audit: AuditLog;
  readonly clock: Pick<Clock, "now">;
  readonly logger: Logger;
  /** Life of the nodes' certificates. */
  readonly nodeTtlSeconds: number;
}

/**
 * After a restore, or after a store was given up, before anybody is served: revoke every join token that is open, because it may have been used or revoked
 * since the backup, and write down that an older state is in use. Done again until it came to its end once.
 * @throws {RksError} AUDIT_UNWRITABLE, and as the store does.
 */
export async function settleRestore(
  stores: Pick<VaultStores, "unsettledRestore" | "settleRestore">,
  vault: MovedVault,
  { cluster, barrier, audit, clock, logger, nodeTtlSeconds }: SettlePorts,
): Promise<void> {
  const restored = stores.unsettledRestore;
  if (restored === undefined) return;
  const { from, gaveUp, epoch, adoptsNodes } = restored;
  const fields =
    gaveUp === undefined ? { backup: from, epoch, adoptsNodes } : { gaveUp, since: from, epoch, adoptsNodes };
  const operation = gaveUp === undefined ? "storage.restore" : "storage.stay";
  await audited(audit, { operation, actor: ACTOR, fields }, async () => {
    const open = (await cluster.joinTokens.list()).filter(({ status }) => status === "usable");
    for (const { id } of open) await cluster.joinTokens.revoke(id, { actor: ACTOR });
    if (adoptsNodes) {
      const until = new Date(clock.now() + nodeTtlSeconds * 1000).toISOString();
      await barrier.transaction([], [adoptionWrite(barrier, { from, until, epoch })]);
    }
    await stores.settleRestore(vault);
    logger.warn(
      gaveUp === undefined
        ? "A backup was restored: open join tokens are void, and what was done since it was made is forgotten"
        : "A store was given up: open join tokens are void, and what was done there, if it was the vault, is forgotten",
      {
        ...fields,
        tokensRevoked: open.length,
      },
    );
    return { value: undefined, fields: { tokensRevoked: open.length } };
  });
}
