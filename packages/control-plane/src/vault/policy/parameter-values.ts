import type { ParameterValue } from "./policy.js";

/**
 * The values that a rule lists for a field, ready to be compared with a request's. Numbers, booleans and their text are
 * the same, as they are for whoever reads the field. `*` at either end of a listed text stands for anything there.
 */
export class ParameterValues {
  /** Whatever is given matches. */
  #isAny = false;
  readonly #texts = new Set<string>();
  readonly #globs: Glob[] = [];
  readonly #others: ParameterValue[] = [];

  /** List more values; an empty list is any value. */
  add(values: readonly ParameterValue[]): void {
    if (values.length === 0) this.#isAny = true;
    for (const value of values) {
      const text = scalarText(value);
      if (text === undefined) this.#others.push(value);
      else if (typeof value === "string" && isGlob(value)) this.#globs.push(parseGlob(value));
      else this.#texts.add(text);
    }
  }

  /** Whether the value as a whole is listed. */
  has(value: unknown): boolean {
    if (this.#isAny) return true;
    const text = scalarText(value);
    if (text === undefined) return this.#others.some((other) => isEqual(other, value));
    return this.#texts.has(text) || this.#globs.some((glob) => matchesGlob(glob, text));
  }

  /**
   * Whether the value is listed, or is a list, be it written with commas, and one of its members is. What denies has
   * to look at both spellings of a list, or one of them would get around it.
   */
  hasAny(value: unknown): boolean {
    if (this.has(value)) return true;
    if (Array.isArray(value)) return value.some((member) => this.has(member));
    if (typeof value !== "string" || !value.includes(",")) return false;
    return value.split(",").some((member) => this.has(member.trim()));
  }
}

interface Glob {
  readonly text: string;
  readonly isOpenStart: boolean;
  readonly isOpenEnd: boolean;
}

function isGlob(text: string): boolean {
  return text.startsWith("*") || text.endsWith("*");
}

function parseGlob(text: string): Glob {
  if (text === "*") return { text: "", isOpenStart: true, isOpenEnd: true };
  const isOpenStart = text.startsWith("*");
  const isOpenEnd = text.endsWith("*");
  return { text: text.slice(isOpenStart ? 1 : 0, isOpenEnd ? -1 : undefined), isOpenStart, isOpenEnd };
}

function matchesGlob({ text, isOpenStart, isOpenEnd }: Glob, value: string): boolean {
  if (isOpenStart && isOpenEnd) return value.includes(text);
  return isOpenStart ? value.endsWith(text) : value.startsWith(text);
}

function scalarText(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  return typeof value === "number" || typeof value === "boolean" ? String(value) : undefined;
}

/** No deeper than what the policy wrote. */
function isEqual(listed: ParameterValue, value: unknown): boolean {
  const text = scalarText(listed);
  if (text !== undefined) return text === scalarText(value);
  if (listed === null || typeof listed !== "object") return listed === value;
  if (typeof value !== "object" || value === null) return false;
  if (Array.isArray(listed) || Array.isArray(value)) {
    if (!Array.isArray(listed) || !Array.isArray(value)) return false;
    const items: readonly ParameterValue[] = listed;
    return items.length === value.length && items.every((item, index) => isEqual(item, value[index]));
  }
  const members = Object.entries(listed);
  return (
    members.length === Object.keys(value).length &&
    members.every(([name, member]) => Object.hasOwn(value, name) && isEqual(member, Reflect.get(value, name)))
  );
}
