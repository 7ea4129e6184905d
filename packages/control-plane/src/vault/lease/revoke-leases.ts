import type { TokenStore } from "../token/token-store.js";
import { tokenOfLeaseId } from "./lease-keys.js";
import type { LeaseStore } from "./lease-store.js";

/**
 * End the lease with an id and all leases and tokens made below it as a path. Tokens end at once. Leases are undone in
 * the background, or `at once`, and then the first that cannot be is an error; `whatever happens` forgets what cannot
 * be undone.
 */
export async function revokeLeases(
  { leases, tokens }: { readonly leases: LeaseStore; readonly tokens: TokenStore },
  path: string,
  how: "in the background" | "at once" | "whatever happens",
): Promise<void> {
  const bare = path.replace(/\/$/, "");
  await revokeSome([bare]);
  for await (const ids of leases.ids(`${bare}/`)) await revokeSome(ids);

  async function revokeSome(ids: readonly string[]): Promise<void> {
    const secrets: string[] = [];
    for (const id of ids) {
      const token = tokenOfLeaseId(id);
      if (token === undefined) secrets.push(id);
      else await tokens.revoke(token);
    }
    if (how === "in the background") return leases.end(secrets);
    for (const id of secrets) await (how === "at once" ? leases.revoke(id) : leases.forget(id));
  }
}
