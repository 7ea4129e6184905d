import { hclError } from "./hcl.js";
import { MAX_PATTERN_CHARACTERS } from "./pattern.js";
import type { PathTemplate, Placeholder, Policy, PolicyIdentity, PolicyRule } from "./policy.js";

const ENTITY_FIELD = /^identity\.entity\.(id|name)$/;
const ENTITY_METADATA = /^identity\.entity\.metadata\.(.+)$/;
const ALIAS_FIELD = /^identity\.entity\.aliases\.([^.]+)\.(id|name)$/;
const ALIAS_METADATA = /^identity\.entity\.aliases\.([^.]+)\.metadata\.(.+)$/;
/** What would change the form of a path instead of filling a place in it: GHSA-59w7-v8rr-pr4p. */
const FORMING = /[*+/]/;

/**
 * Read the `{{…}}` of a path; undefined when it has none.
 * @throws {RksError} INPUT_INVALID with the line, for a place that nothing here can fill
 */
export function parsePathTemplate(path: string, line: number): PathTemplate | undefined {
  const [start = "", ...pieces] = path.split("{{");
  if (start.includes("}}")) throw hclError(line, `"}}" without "{{" in the path "${path}"`);
  if (pieces.length === 0) return undefined;
  const parts = pieces.flatMap((piece) => {
    const [expression = "", after, more] = piece.split("}}");
    if (after === undefined || more !== undefined) {
      throw hclError(line, `"{{" and "}}" do not match in the path "${path}"`);
    }
    const placeholder = parsePlaceholder(expression.trim());
    if (placeholder === undefined) {
      throw hclError(line, `"{{${expression}}}" in the path "${path}" is not possible`);
    }
    return [placeholder, after];
  });
  return [start, ...parts];
}

/**
 * Fill in the templated rules of a policy for one identity, or for nobody. A rule that cannot be filled in, or would be
 * with a value that has `*`, `+` or `/`, is left out, for it names no path. A `deny` is never left out: it denies for
 * whatever its places may stand for.
 */
export function renderPolicyTemplate(policy: Policy, identity: PolicyIdentity | undefined): Policy {
  const rules = policy.rules.flatMap((rule): readonly PolicyRule[] => {
    if (rule.template === undefined) return [rule];
    const { template, ...rest } = rule;
    const values = resolveTemplate(template, identity);
    const path = rule.capabilities.has("deny") ? renderDeny(template, values) : renderGrant(template, values);
    return path === undefined || path.length > MAX_PATTERN_CHARACTERS ? [] : [{ ...rest, path }];
  });
  return { rules };
}

/** The values of a template's places, in their order; undefined where the identity has none. */
export function resolveTemplate(
  template: PathTemplate,
  identity: PolicyIdentity | undefined,
): readonly (string | undefined)[] {
  return placeholders(template).map((placeholder) => {
    const value = identity === undefined ? undefined : placeholder.resolve(identity);
    return value === "" ? undefined : value;
  });
}

/** The path of a template with the same text in every place. */
export function fillTemplate(template: PathTemplate, text: string): string {
  return fill(
    template,
    placeholders(template).map(() => text),
  );
}

function parsePlaceholder(expression: string): Placeholder | undefined {
  const [, field] = ENTITY_FIELD.exec(expression) ?? [];
  if (field !== undefined) return { resolve: (identity) => (field === "id" ? identity.id : identity.name) };
  const [, key] = ENTITY_METADATA.exec(expression) ?? [];
  if (key !== undefined) return { resolve: ({ metadata }) => own(metadata, key) };
  const [, accessor, aliasField] = ALIAS_FIELD.exec(expression) ?? [];
  if (accessor !== undefined) {
    return {
      resolve: (identity) => {
        const alias = aliasOf(identity, accessor);
        return aliasField === "id" ? alias?.id : alias?.name;
      },
    };
  }
  const [, mount, aliasKey] = ALIAS_METADATA.exec(expression) ?? [];
  if (mount === undefined || aliasKey === undefined) return undefined;
  return { resolve: (identity) => own(aliasOf(identity, mount)?.metadata ?? {}, aliasKey) };
}

function aliasOf(
  { aliases }: PolicyIdentity,
  accessor: string,
): PolicyIdentity["aliases"][number] | undefined {
  return aliases.find(({ mountAccessor }) => mountAccessor === accessor);
}

function own(texts: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.hasOwn(texts, key) ? texts[key] : undefined;
}

function placeholders(template: PathTemplate): readonly Placeholder[] {
  return template.filter((part) => typeof part !== "string");
}

function renderGrant(template: PathTemplate, values: readonly (string | undefined)[]): string | undefined {
  const known = values.filter((value) => value !== undefined && !FORMING.test(value));
  return known.length === values.length ? fill(template, known) : undefined;
}

/** A segment with an unknown place becomes `+`, at the end before `*` any rest: it denies more, never less. */
function renderDeny(template: PathTemplate, values: readonly (string | undefined)[]): string {
  if (!values.includes(undefined)) return fill(template, values);
  const path = fill(
    template,
    values.map((value) => value ?? UNKNOWN),
  );
  const segments = path.split("/");
  return segments
    .map((segment, index) => {
      if (!segment.includes(UNKNOWN)) return segment;
      return index === segments.length - 1 && segment.endsWith("*") ? "*" : "+";
    })
    .join("/");
}

/** Stands for an unknown value while a path is taken apart; not a character that paths have. */
const UNKNOWN = "\u0000";

function fill(template: PathTemplate, values: readonly (string | undefined)[]): string {
  let next = 0;
  return template
    .map((part) => {
      if (typeof part === "string") return part;
      next += 1;
      return values[next - 1] ?? "";
    })
    .join("");
}
