import { type Logger, RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { joinTokenRecords } from "../join/join-token-record.js";
import type { Changes } from "../vault/members/changes.js";
import type { OperatorConnections } from "./operator-connections.js";

const TOKENS_PREFIX = "cluster/join-tokens/";

/** End the connections of operators whose token another control plane has revoked. */
export function followRevocations(
  operators: OperatorConnections,
  ports: { readonly barrier: Storage; readonly changes: Changes; readonly logger: Logger },
): void {
  const { barrier, changes, logger } = ports;
  const recheck = async (id: string): Promise<void> => {
    if (!operators.tokenIds().includes(id)) return;
    const token = (await joinTokenRecords(barrier).read(id))?.record;
    if (token === undefined || token.revokedAt !== null) operators.revoke(id);
  };
  const recheckLater = (id: string): void => {
    recheck(id).catch((reason: unknown) => {
      const { code, message } = RksError.from(reason);
      logger.warn("A join token could not be looked at again", { tokenId: id, code, reason: message });
    });
  };
  changes.on(TOKENS_PREFIX, (key) => recheckLater(key.slice(TOKENS_PREFIX.length)));
  changes.onGap(() => {
    for (const id of operators.tokenIds()) recheckLater(id);
  });
}
