import { z } from "zod";
import type { VaultApi } from "./vault-api.js";

/** What the vault says of a field; undefined where it says nothing. */
export type FieldType = "boolean" | "string" | "integer" | "duration" | "array" | "object" | undefined;

/** One operation of one path, as the vault's own OpenAPI document describes it. */
export interface ApiOperation {
  /** `/pki/roles/{name}`. */
  readonly template: string;
  readonly method: "GET" | "LIST" | "POST" | "PATCH" | "DELETE";
  /** Whether it is answered without a token. */
  readonly isOpen: boolean;
  /** Of the body, or of the query for reads. */
  readonly fields: Readonly<Record<string, FieldType>>;
}

const fieldSchema = z.object({ type: z.string().optional(), format: z.string().optional() });
const parameters = z
  .array(
    z.object({ name: z.string(), in: z.string(), required: z.boolean().optional(), schema: fieldSchema }),
  )
  .default([]);
const described = z.object({
  "x-vault-unauthenticated": z.boolean().default(false),
  parameters,
  requestBody: z
    .object({
      content: z.record(
        z.string(),
        z.object({ schema: z.object({ properties: z.record(z.string(), fieldSchema) }) }),
      ),
    })
    .optional(),
});
const operations = z.object({
  get: described.optional(),
  post: described.optional(),
  patch: described.optional(),
  delete: described.optional(),
});
const document = z.object({ paths: z.record(z.string(), operations) });

const LISTS = ["list", "scan"];

/** Every operation that the vault serves, from `sys/internal/specs/openapi`. */
export async function apiOperations(api: VaultApi): Promise<readonly ApiOperation[]> {
  const { json } = await api.ask({ method: "GET", path: "sys/internal/specs/openapi" });
  return Object.entries(document.parse(json).paths).flatMap(([template, methods]) =>
    Object.entries(methods).flatMap(([method, operation]) =>
      operation === undefined ? [] : fromDescription(template, method, operation),
    ),
  );
}

function fromDescription(
  template: string,
  method: string,
  { parameters: known, requestBody, ...operation }: z.output<typeof described>,
): readonly ApiOperation[] {
  const queries = known.filter((parameter) => parameter.in === "query");
  const inBody = Object.values(requestBody?.content ?? {}).flatMap(({ schema }) =>
    Object.entries(schema.properties),
  );
  const inQuery = queries
    .filter(({ name }) => !LISTS.includes(name))
    .map(({ name, schema }) => [name, schema] as const);
  const fields = Object.fromEntries([...inBody, ...inQuery].map(([name, schema]) => [name, typeOf(schema)]));
  const common = { template, isOpen: operation["x-vault-unauthenticated"], fields };
  if (method !== "get") return [{ ...common, method: method.toUpperCase() as ApiOperation["method"] }];
  const list = queries.find(({ name }) => name === "list");
  return [
    ...(list?.required === true ? [] : [{ ...common, method: "GET" as const }]),
    ...(list === undefined ? [] : [{ ...common, method: "LIST" as const }]),
  ];
}

function typeOf({ type, format }: z.output<typeof fieldSchema>): FieldType {
  return (format === "seconds" ? "duration" : type) as FieldType;
}

/** A path below `/v1` with something in the place of every parameter. */
export function pathOf({ template }: ApiOperation, fill: (name: string) => string): string {
  return `/v1${template.replaceAll(/\{(\w+)\}/g, (_, name: string) => fill(name))}`;
}
