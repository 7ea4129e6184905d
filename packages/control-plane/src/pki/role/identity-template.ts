import { RksError } from "@rk8s/protocol";
import type { PolicyIdentity } from "../../vault/policy/policy.js";

/** Whom templates of a role are filled in for. */
export interface TemplateSource {
  /** The entity of the caller's token; undefined: it has none. */
  readonly identity: PolicyIdentity | undefined;
  /** Of the caller's token. Whoever makes tokens for others chooses both. */
  readonly displayName: string;
  readonly metadata: Readonly<Record<string, string>>;
}

type Resolve = (source: TemplateSource) => string | undefined;

const PLACE = /\{\{(.*?)\}\}/g;
const ENTITY_METADATA = /^identity\.entity\.metadata\.(.+)$/;
const ALIAS_FIELD = /^identity\.entity\.aliases\.([^.]+)\.(id|name)$/;
const ALIAS_METADATA = /^identity\.entity\.aliases\.([^.]+)\.metadata\.(.+)$/;
const TOKEN_METADATA = /^token\.metadata\.(.+)$/;

/** Whether a text has a place for something of the caller. */
export function isTemplate(text: string): boolean {
  return text.includes("{{");
}

/** @throws {RksError} INPUT_INVALID for a `{{…}}` that nothing can fill. */
export function assertTemplate(field: string, text: string): void {
  const unmatched = text.replaceAll(PLACE, "");
  const unknown = [...text.matchAll(PLACE)].find(([, place = ""]) => resolver(place.trim()) === undefined);
  if (unknown === undefined && !unmatched.includes("{{") && !unmatched.includes("}}")) return;
  throw new RksError(
    "INPUT_INVALID",
    `${field} has the template ${JSON.stringify(text.slice(0, 200))}, which nothing can fill in`,
    {
      suggestion:
        "Use {{identity.entity.name}}, .id, .metadata.<key>, .aliases.<mount accessor>.name, {{token.display_name}} or {{token.metadata.<key>}}.",
    },
  );
}

/**
 * Fill in a template for a caller; undefined when the caller has not what a place asks for. A value with `*` would turn a
 * name into a pattern and is taken only with `allowGlobs` (GHSA-59w7-v8rr-pj4p).
 */
export function fillTemplate(
  text: string,
  source: TemplateSource,
  options: { readonly allowGlobs: boolean },
): string | undefined {
  let isComplete = true;
  const filled = text.replaceAll(PLACE, (_, place: string) => {
    const value = resolver(place.trim())?.(source) ?? "";
    if (value === "" || (value.includes("*") && !options.allowGlobs)) isComplete = false;
    return value;
  });
  return isComplete ? filled : undefined;
}

function resolver(place: string): Resolve | undefined {
  if (place === "token.display_name") return ({ displayName }) => displayName;
  if (place === "identity.entity.id") return ({ identity }) => identity?.id;
  if (place === "identity.entity.name") return ({ identity }) => identity?.name;
  const [, tokenKey] = TOKEN_METADATA.exec(place) ?? [];
  if (tokenKey !== undefined) return ({ metadata }) => own(metadata, tokenKey);
  const [, entityKey] = ENTITY_METADATA.exec(place) ?? [];
  if (entityKey !== undefined) return ({ identity }) => own(identity?.metadata, entityKey);
  const [, accessor, field] = ALIAS_FIELD.exec(place) ?? [];
  if (accessor !== undefined) return (source) => aliasOf(source, accessor)?.[field === "id" ? "id" : "name"];
  const [, mount, key] = ALIAS_METADATA.exec(place) ?? [];
  if (mount === undefined || key === undefined) return undefined;
  return (source) => own(aliasOf(source, mount)?.metadata, key);
}

function aliasOf(
  { identity }: TemplateSource,
  accessor: string,
): PolicyIdentity["aliases"][number] | undefined {
  return identity?.aliases.find(({ mountAccessor }) => mountAccessor === accessor);
}

function own(texts: Readonly<Record<string, string>> | undefined, key: string): string | undefined {
  return texts !== undefined && Object.hasOwn(texts, key) ? texts[key] : undefined;
}
