import { fromHex, RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";

import type { JoinTokenFacts, JoinTokenKeys } from "../auth/join-token/join-token-keys.js";
import { importEd25519PublicKey, verifyEd25519 } from "../join/ed25519-key.js";
import { type JoinTokenRecord, joinTokenRecords, withUse } from "../join/join-token-record.js";
import { assertUsable } from "../join/join-rules.js";

/** What a signature for an unknown token is verified with, so that it takes as long (RFC 8032 §7.1, test 1). */
const DUMMY_KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

/** The cluster's join tokens for the vault's login method, over the barrier that they are kept behind. */
export function joinTokenKeys(barrier: Storage, ports: { readonly clock: { now(): number } }): JoinTokenKeys {
  const records = joinTokenRecords(barrier);
  return {
    verify: async (id, bytes, signature) => {
      const stored = await records.read(id);
      const publicKey = fromHex(stored?.record.publicKey ?? DUMMY_KEY);
      if (publicKey === undefined) throw RksError.from(new Error("a join token's key is not hexadecimal"));
      const isOwn = verifyEd25519(importEd25519PublicKey(publicKey), bytes, signature);
      return stored === undefined || !isOwn ? undefined : factsOf(stored.record);
    },
    use: async (id, user) => {
      const stored = await records.read(id);
      if (stored === undefined) throw gone(id);
      const { record } = stored;
      assertUsable(record, ports.clock.now());
      const comparisons = [records.unchanged(id, stored)];
      if (record.role === "operator") return { comparisons, writes: [] };
      const used = withUse(record, { node: user, at: new Date(ports.clock.now()).toISOString() });
      return { comparisons, writes: [records.put(id, used)] };
    },
    find: async (id) => {
      const stored = await records.read(id);
      return stored === undefined ? undefined : factsOf(stored.record);
    },
  };
}

function factsOf(record: JoinTokenRecord): JoinTokenFacts {
  const { id, role, node, cidr, revokedAt, expiresAt } = record;
  return { id, role, node, cidr, isRevoked: revokedAt !== null, expiresAtMs: Date.parse(expiresAt) };
}

function gone(id: string): RksError {
  return new RksError("JOIN_TOKEN_INVALID", `join token "${id}" is not valid`, {
    suggestion: "Ask for a new one: `rks gen join-token`.",
  });
}
