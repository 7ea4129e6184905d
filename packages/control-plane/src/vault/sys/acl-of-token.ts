import type { EntityStore } from "../identity/entity-store.js";
import { policyIdentity } from "../identity/entity.js";
import { Acl } from "../policy/acl.js";
import type { PolicyStore } from "../policy/policy-store.js";
import type { LiveToken } from "../token/token-store.js";

/** What a token's policies allow together, filled in for whoever it belongs to: nothing when that one is disabled. */
export async function aclOfToken(
  stores: { readonly policies: PolicyStore; readonly entities: EntityStore },
  { entry }: LiveToken,
): Promise<Acl> {
  if (entry.entityId === "") return stores.policies.acl(entry.policies);
  const entity = await stores.entities.find(entry.entityId);
  if (entity === undefined || entity.disabled) return new Acl([]);
  return stores.policies.acl(entry.policies, policyIdentity(entity));
}
