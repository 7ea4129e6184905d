import { RksError } from "@rk8s/protocol";

/** @throws {RksError} INPUT_INVALID when something was asked for that there is not: nobody may believe it was done. */
export function assertNotAsked(fields: Readonly<Record<string, unknown>>): void {
  const isNothing = (value: unknown): boolean =>
    value === 0 || value === "" || value === false || (Array.isArray(value) && value.length === 0);
  const asked = Object.entries(fields).find(([, value]) => !isNothing(value));
  if (asked === undefined) return;
  throw new RksError("INPUT_INVALID", `"${asked[0]}" is not applicable to this vault's seal`, {
    suggestion: "Leave it out: there are no PGP keys, backups, stored or recovery shares, and no migration.",
  });
}
