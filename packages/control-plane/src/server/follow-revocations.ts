import type { Logger } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { JOIN_TOKENS_PREFIX, joinTokenRecords } from "../join/join-token-record.js";
import { type Changes, followRecords } from "../vault/members/changes.js";
import type { OperatorConnections } from "./operator-connections.js";

/** End the connections of operators whose token another control plane has revoked. */
export function followRevocations(
  operators: OperatorConnections,
  ports: { readonly barrier: Storage; readonly changes: Changes; readonly logger: Logger },
): void {
  const { barrier, changes, logger } = ports;
  followRecords(changes, {
    prefix: JOIN_TOKENS_PREFIX,
    known: () => operators.tokenIds(),
    recheck: async (id) => {
      if (!operators.tokenIds().includes(id)) return;
      const token = (await joinTokenRecords(barrier).read(id))?.record;
      if (token === undefined || token.revokedAt !== null) operators.revoke(id);
    },
    onFailure: (tokenId, { code, message }) => {
      logger.warn("A join token could not be looked at again", { tokenId, code, reason: message });
    },
  });
}
