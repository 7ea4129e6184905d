import type { z } from "zod";

import { VERSION } from "../../version.js";
import type { Backend, JsonObject } from "../backend.js";
import type { FieldMeta } from "../field-types.js";
import { isAuthPath } from "../mount/mount-path.js";
import type { MountEntry } from "../mount/mount-table.js";
import type { BackendPath, PathOperation, Verb } from "../path-table.js";

/** A mount and what serves it. */
export interface DescribedMount {
  readonly entry: Pick<MountEntry, "path" | "type">;
  readonly backend: Pick<Backend, "paths">;
}

/** HTTP methods of the verbs. Lists are asked for with a query here: OpenAPI does not know the method LIST. */
const METHODS: Readonly<Record<Verb, string>> = {
  read: "get",
  list: "get",
  scan: "get",
  update: "post",
  patch: "patch",
  delete: "delete",
};

const TYPES: Readonly<Record<FieldMeta["type"], JsonObject>> = {
  boolean: { type: "boolean" },
  string: { type: "string" },
  integer: { type: "integer" },
  duration: { type: "integer", format: "seconds" },
  array: { type: "array", items: { type: "string" } },
  object: { type: "object" },
};

/** Describe every path of these mounts as OpenAPI 3.0 (spec.openapis.org/oas/v3.0.3), made from their tables. */
export function openApiDocument(mounts: readonly DescribedMount[]): JsonObject {
  const paths = new Map<string, JsonObject>();
  const ids = new Set<string>();
  for (const { entry, backend } of mounts) {
    for (const path of backend.paths.entries) {
      const name = `/${entry.path}${path.pattern.replaceAll(/[:*](\w+)/g, "{$1}")}`;
      // Two patterns can differ in how many segments they take only; the first one serves what both fit.
      paths.set(name, { ...describePath(path, entry, ids), ...paths.get(name) });
    }
  }
  return {
    openapi: "3.0.3",
    info: {
      title: "rks vault",
      description: "What this vault serves to this caller, below /v1.",
      version: VERSION,
    },
    servers: [{ url: "/v1" }],
    paths: Object.fromEntries([...paths].toSorted(([a], [b]) => (a < b ? -1 : 1))),
    components: { securitySchemes: { token: { type: "apiKey", in: "header", name: "X-Vault-Token" } } },
  };
}

function describePath(path: BackendPath, mount: DescribedMount["entry"], ids: Set<string>): JsonObject {
  const verbs = Object.entries(path.operations) as [Verb, PathOperation][];
  const names = [...path.pattern.matchAll(/[:*](\w+)/g)].map(([, name]) => name ?? "");
  const methods = new Map<string, [Verb, PathOperation][]>();
  for (const verb of verbs) {
    const method = METHODS[verb[0]];
    methods.set(method, [...(methods.get(method) ?? []), verb]);
  }
  return {
    ...(names.length === 0 ? {} : { parameters: names.map(pathParameter) }),
    ...(path.exists === undefined ? {} : { "x-vault-createSupported": true }),
    ...flags(verbs.map(([, operation]) => operation)),
    ...Object.fromEntries(
      [...methods].map(([method, own]) => [method, describeOperation(path, mount, own, ids)]),
    ),
  };
}

function pathParameter(name: string): JsonObject {
  return { name, in: "path", required: true, schema: { type: "string" } };
}

/** What one method does; reading, listing and scanning are one, told apart by the query. */
function describeOperation(
  path: BackendPath,
  mount: DescribedMount["entry"],
  verbs: readonly [Verb, PathOperation][],
  ids: Set<string>,
): JsonObject {
  const operations = verbs.map(([, operation]) => operation);
  const isRead = verbs.some(([verb]) => verb === "read");
  const queries = verbs.flatMap(([verb]) => (verb === "list" || verb === "scan" ? [verb] : []));
  const fields = new Map(
    operations.flatMap(({ fields: own }) => Object.entries(own?.shape ?? {})) as [string, z.ZodType][],
  );
  const hasBody = verbs.some(([verb]) => verb === "update" || verb === "patch");
  const parameters = [
    ...queries.map((query) => ({
      name: query,
      in: "query",
      required: !isRead && queries.length === 1,
      schema: { type: "string", enum: ["true"] },
    })),
    ...(hasBody ? [] : [...fields].map(([name, field]) => ({ name, in: "query", ...describeField(field) }))),
  ];
  const isOpen = operations.every(({ access }) => access === "anyone" || access === "optional");
  return {
    operationId: operationId(`${mount.path}${path.pattern}`, verbs, ids),
    summary: operations.map(({ summary }) => summary).join(" "),
    tags: [tagOf(mount)],
    ...flags(operations),
    ...(isOpen ? {} : { security: [{ token: [] }] }),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(hasBody && fields.size > 0 ? { requestBody: describeBody(verbs, fields) } : {}),
    responses: { 200: { description: "OK" }, ...(isRead ? {} : { 204: { description: "Done" } }) },
  };
}

function describeBody(
  verbs: readonly [Verb, PathOperation][],
  fields: ReadonlyMap<string, z.ZodType>,
): JsonObject {
  const required = [...fields].filter(([, field]) => isRequired(field)).map(([name]) => name);
  const schema = {
    type: "object",
    properties: Object.fromEntries([...fields].map(([name, field]) => [name, describeField(field).schema])),
    ...(required.length === 0 ? {} : { required }),
  };
  const isPatch = verbs.some(([verb]) => verb === "patch");
  const type = isPatch ? "application/merge-patch+json" : "application/json";
  return { required: required.length > 0, content: { [type]: { schema } } };
}

function describeField(field: z.ZodType): { readonly required: boolean; readonly schema: JsonObject } {
  const meta = field.meta() as FieldMeta | undefined;
  return { required: isRequired(field), schema: meta === undefined ? {} : TYPES[meta.type] };
}

function isRequired(field: z.ZodType): boolean {
  return !field.safeParse(undefined).success;
}

function flags(operations: readonly PathOperation[]): JsonObject {
  const isOpen = operations.every(({ access }) => access === "anyone" || access === "optional");
  const isSudo = operations.every(({ access }) => access === "sudo");
  return {
    ...(isOpen ? { "x-vault-unauthenticated": true } : {}),
    ...(isSudo ? { "x-vault-sudo": true } : {}),
  };
}

function operationId(path: string, verbs: readonly [Verb, PathOperation][], ids: Set<string>): string {
  const words = [...verbs.map(([verb]) => verb), ...path.split(/[^A-Za-z0-9]+/)].filter(
    (word) => word !== "",
  );
  const wanted = words.join("-");
  let id = wanted;
  for (let count = 2; ids.has(id); count += 1) id = `${wanted}-${count}`;
  ids.add(id);
  return id;
}

function tagOf({ path }: DescribedMount["entry"]): string {
  if (path === "sys/") return "system";
  return isAuthPath(path) ? "auth" : "secrets";
}
