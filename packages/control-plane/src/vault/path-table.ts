import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { Answer, JsonObject, Operation, PathRequest } from "./backend.js";
import { parseFields, unknownFieldWarning } from "./field-types.js";

/**
 * Who may call an operation: `anyone` without a token; `optional`: anyone, and whose token is given and alive is the
 * caller, whatever its policies say; `token`: whoever's policies allow it; `sudo`: whoever's policies allow it and grant
 * `sudo` on it.
 */
export type Access = "anyone" | "optional" | "token" | "sudo";

/** What a path can be asked; `update` stands for both kinds of writing. */
export type Verb = Exclude<Operation, "create" | "help">;

type Handler<Fields> = (request: PathRequest<Fields>) => Promise<Answer | undefined> | Answer | undefined;

export interface OperationInit<Schema extends z.ZodObject> {
  /** Default: `token`. */
  readonly access?: Access;
  /** One line for `help` and the API description. */
  readonly summary: string;
  /** Fields of the body or query, made with field-types.ts. Fields that it does not have give a warning. */
  readonly fields?: Schema;
  readonly handle: Handler<z.output<Schema>>;
}

/** One operation of a path, its field types forgotten. */
export interface PathOperation {
  readonly access: Access;
  readonly summary: string;
  readonly fields: z.ZodObject | undefined;
  readonly handle: (request: Omit<PathRequest, "fields">) => Promise<Answer | undefined>;
}

/** A path of a backend and what it can be asked. */
export interface BackendPath {
  /**
   * Relative to the mount. Segments; `:name` stands for any one segment, `*name` (once) for one or more:
   * `roles/:name`, `data/*path`, `mounts/*path/tune`. The first pattern of a table that fits a path is the one.
   */
  readonly pattern: string;
  readonly operations: Readonly<Partial<Record<Verb, PathOperation>>>;
  /**
   * Whether something is there already, which makes a write an `update` instead of a `create`. Without it every write
   * is an `update`.
   */
  readonly exists?: (parameters: Readonly<Record<string, string>>) => Promise<boolean>;
}

export interface PathMatch {
  readonly entry: BackendPath;
  readonly parameters: Readonly<Record<string, string>>;
}

/** Declare an operation: who may call it, what it reads, what it does. */
export function operation<Schema extends z.ZodObject = typeof NO_FIELDS>(
  init: OperationInit<Schema>,
): PathOperation {
  const { access = "token", summary, fields, handle } = init;
  return {
    access,
    summary,
    fields,
    handle: async (request) => {
      const { data } = request;
      const parsed = parseFields(fields ?? NO_FIELDS, data, "request") as z.output<Schema>;
      const answer = await handle({ ...request, fields: parsed });
      if (answer === undefined || Object.keys(data).length === 0) return answer;
      const warning = unknownFieldWarning(data, fields ?? NO_FIELDS, request.parameters);
      if (warning === undefined) return answer;
      return { ...answer, warnings: [...(answer.warnings ?? []), warning] };
    },
  };
}

const NO_FIELDS = z.object({});

/** The paths of a backend, ready to be looked up; the order of declaration decides between patterns that both fit. */
export class PathTable {
  readonly entries: readonly BackendPath[];
  /** By the first segment, which for most patterns is fixed. */
  readonly #byFirst = new Map<string, CompiledPath[]>();

  constructor(entries: readonly BackendPath[]) {
    this.entries = entries;
    const compiled = entries.map(compile);
    for (const first of new Set(compiled.map(({ segments }) => segments[0] ?? ""))) {
      if (isParameter(first)) continue;
      this.#byFirst.set(
        first,
        compiled.filter(({ segments: [own = ""] }) => own === first || isParameter(own)),
      );
    }
    this.#byFirst.set(
      "*",
      compiled.filter(({ segments: [own = ""] }) => isParameter(own)),
    );
  }

  /** Find the entry for a path without leading or trailing slash. */
  match(path: string): PathMatch | undefined {
    const parts = path.split("/");
    const candidates = this.#byFirst.get(parts[0] ?? "") ?? this.#byFirst.get("*") ?? [];
    for (const { entry, segments } of candidates) {
      const parameters = matchSegments(segments, parts);
      if (parameters !== undefined) return { entry, parameters };
    }
    return undefined;
  }
}

/** The operation for what was asked, `create` being an `update` here. */
export function operationFor(entry: BackendPath, asked: Operation): PathOperation | undefined {
  if (asked === "help") return undefined;
  return entry.operations[asked === "create" ? "update" : asked];
}

interface CompiledPath {
  readonly entry: BackendPath;
  readonly segments: readonly string[];
}

function compile(entry: BackendPath): CompiledPath {
  const segments = entry.pattern.split("/");
  if (segments.filter((segment) => segment.startsWith("*")).length > 1) {
    throw new TypeError(`the pattern "${entry.pattern}" has more than one "*"`);
  }
  return { entry, segments };
}

function isParameter(segment: string): boolean {
  return segment.startsWith(":") || segment.startsWith("*");
}

function matchSegments(
  segments: readonly string[],
  parts: readonly string[],
): Readonly<Record<string, string>> | undefined {
  const parameters: Record<string, string> = {};
  let at = 0;
  for (const [index, segment] of segments.entries()) {
    const part = parts[at];
    if (part === undefined) return undefined;
    if (segment.startsWith("*")) {
      const end = parts.length - (segments.length - 1 - index);
      if (end <= at) return undefined;
      parameters[segment.slice(1)] = parts.slice(at, end).join("/");
      at = end;
      continue;
    }
    if (segment.startsWith(":")) parameters[segment.slice(1)] = part;
    else if (segment !== part) return undefined;
    at += 1;
  }
  return at === parts.length ? parameters : undefined;
}

/** A parameter of the matched pattern. @throws {TypeError} when the pattern has none of that name. */
export function parameter(
  request: { readonly parameters: Readonly<Record<string, string>> },
  name: string,
): string {
  const value = request.parameters[name];
  if (value === undefined) throw new TypeError(`the pattern has no parameter "${name}"`);
  return value;
}

/** The caller of an operation that is not for anyone. */
export function callerOf<T>(request: { readonly caller: T | undefined }): T {
  if (request.caller === undefined)
    throw RksError.from(new Error("an operation needs a caller and has none"));
  return request.caller;
}

/** Merge a request's fields over what was stored: null takes a member away (RFC 7396). */
export function mergePatch(stored: JsonObject, patch: JsonObject): JsonObject {
  // A map, so that `__proto__` is a member like any other.
  const merged = new Map(Object.entries(stored));
  for (const [name, value] of Object.entries(patch)) {
    const before = merged.get(name);
    if (value === null) merged.delete(name);
    else if (isObject(value)) merged.set(name, mergePatch(isObject(before) ? before : {}, value));
    else merged.set(name, value);
  }
  return Object.fromEntries(merged);
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
