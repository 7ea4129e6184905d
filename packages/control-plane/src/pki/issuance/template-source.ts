import type { Caller } from "../../vault/backend.js";
import type { TemplateSource } from "../role/identity-template.js";

const NOBODY: TemplateSource = { identity: undefined, displayName: "", metadata: {} };

/** Whom a role's templates are filled in for: the entity and the token of whoever asks. */
export function templateSource(caller: Caller | undefined): TemplateSource {
  if (caller === undefined) return NOBODY;
  const { displayName, meta } = caller.token.entry;
  return { identity: caller.identity, displayName, metadata: meta };
}
