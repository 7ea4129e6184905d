import type { JsonObject, Operation } from "../backend.js";
import type { Denial } from "./denial.js";
import { ParameterValues } from "./parameter-values.js";
import { ANY_FIELD, CAPABILITIES } from "./policy.js";
import type { Capability, ParameterRules, PolicyRule } from "./policy.js";

/** What is judged of a request besides its path. */
export interface Asked {
  readonly operation: Exclude<Operation, "help">;
  /** Body or query. */
  readonly data: JsonObject;
  /** Undefined when the answer is not to be wrapped. */
  readonly wrapTtlSeconds: number | undefined;
}

/**
 * What all rules of one pattern say together. Capabilities are joined and `deny` in any rule wins; of the wrapping
 * times the shortest minimum and the shortest maximum count; fields that any rule requires or denies are required or
 * denied; once one rule says which fields are allowed, those that the rules allow together are the only ones.
 */
export class Permissions {
  readonly rules: readonly PolicyRule[];
  readonly #capabilities: ReadonlySet<Capability>;
  readonly #required: ReadonlySet<string>;
  readonly #denied: ReadonlyMap<string, ParameterValues>;
  readonly #allowed: ReadonlyMap<string, ParameterValues>;
  readonly #minWrapTtlSeconds: number;
  readonly #maxWrapTtlSeconds: number;

  constructor(rules: readonly PolicyRule[]) {
    this.rules = rules;
    const capabilities = new Set(rules.flatMap((rule) => [...rule.capabilities]));
    this.#capabilities = capabilities.has("deny") ? new Set(["deny"]) : capabilities;
    this.#required = new Set(rules.flatMap((rule) => rule.requiredParameters ?? []));
    this.#denied = joined(rules.map((rule) => rule.deniedParameters));
    this.#allowed = joined(rules.map((rule) => rule.allowedParameters));
    this.#minWrapTtlSeconds = shortest(rules.map((rule) => rule.minWrapTtlSeconds));
    this.#maxWrapTtlSeconds = shortest(rules.map((rule) => rule.maxWrapTtlSeconds));
  }

  has(capability: Capability): boolean {
    return this.#capabilities.has(capability);
  }

  /** In the order of the alphabet. */
  capabilities(): string[] {
    return CAPABILITIES.filter((capability) => this.has(capability)).toSorted();
  }

  /** What speaks against a request; undefined when nothing does. */
  judge({ operation, data, wrapTtlSeconds }: Asked): Denial | undefined {
    if (this.has("deny")) return "denied";
    if (!this.has(operation)) return "operation";
    return this.#judgeWrapping(wrapTtlSeconds) ?? this.#judgeParameters(operation, data);
  }

  #judgeWrapping(ttlSeconds: number | undefined): Denial | undefined {
    const [min, max] = [this.#minWrapTtlSeconds, this.#maxWrapTtlSeconds];
    if (min === 0 && max === 0) return undefined;
    if (ttlSeconds === undefined) return "wrapping-required";
    return ttlSeconds < min || (max > 0 && ttlSeconds > max) ? "wrapping-ttl" : undefined;
  }

  /** Fields are judged where they are read or written; a list or delete has none. */
  #judgeParameters(operation: Operation, data: JsonObject): Denial | undefined {
    if (operation === "list" || operation === "scan" || operation === "delete") return undefined;
    for (const name of this.#required) {
      if (!Object.hasOwn(data, name) || (data[name] ?? undefined) === undefined) return "parameter-missing";
    }
    if (this.#denied.size === 0 && this.#allowed.size === 0) return undefined;
    const fields = Object.entries(data);
    if (fields.length > 0 && this.#denied.has(ANY_FIELD)) return "parameter-denied";
    const isAllowed = fields.every(([field, value]) => {
      const name = field.toLowerCase();
      return this.#denied.get(name)?.hasAny(value) !== true && this.#allows(name, value);
    });
    return isAllowed ? undefined : "parameter-denied";
  }

  #allows(name: string, value: unknown): boolean {
    if (this.#allowed.size === 0) return true;
    return this.#allowed.get(name)?.has(value) ?? this.#allowed.has(ANY_FIELD);
  }
}

function joined(all: readonly (ParameterRules | undefined)[]): ReadonlyMap<string, ParameterValues> {
  const together = new Map<string, ParameterValues>();
  for (const rules of all) {
    for (const [name, values] of rules ?? []) {
      const known = together.get(name) ?? new ParameterValues();
      known.add(values);
      together.set(name, known);
    }
  }
  return together;
}

function shortest(all: readonly (number | undefined)[]): number {
  const set = all.filter((seconds) => seconds !== undefined && seconds > 0);
  return set.reduce<number>((least, seconds = 0) => (least === 0 ? seconds : Math.min(least, seconds)), 0);
}
