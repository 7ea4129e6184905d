import { RksError } from "@rk8s/protocol";

/** How callers name what a mount configured as its default. */
export const DEFAULT_REFERENCE = "default";

/** Names of issuers and keys, as Vault allows them. */
const NAME = /^\w(?:[\w.-]{0,126}\w)?$/;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * Check the name of a new issuer or key; empty stands for none.
 * @throws {RksError} INPUT_INVALID when it is taken, `default`, looks like an id or has other characters.
 */
export function assertFreeName(
  what: "issuer" | "key",
  name: string,
  entries: Iterable<{ readonly name: string }>,
): void {
  if (name === "") return;
  if (name === DEFAULT_REFERENCE) {
    throw refused(`reserved keyword "${DEFAULT_REFERENCE}" can not be used as ${what} name`);
  }
  if (!NAME.test(name) || UUID.test(name)) {
    throw refused(`${what} name ${JSON.stringify(name.slice(0, 80))} is not allowed`);
  }
  for (const entry of entries) {
    if (entry.name === name) throw refused(`${what} name already in use: "${name}"`);
  }
}

/** The entry that an id or a name means; ids win. */
export function findByReference<T extends { readonly name: string }>(
  reference: string,
  entries: ReadonlyMap<string, T>,
): T | undefined {
  const byId = entries.get(reference.toLowerCase());
  if (byId !== undefined || reference === "") return byId;
  for (const entry of entries.values()) if (entry.name === reference) return entry;
  return undefined;
}

function refused(problem: string): RksError {
  return new RksError("INPUT_INVALID", problem, {
    suggestion: "Use another name: letters, digits, underscores, inner hyphens and dots, at most 128.",
  });
}
