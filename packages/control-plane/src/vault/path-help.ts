import type { z } from "zod";

import type { Answer } from "./backend.js";
import type { FieldMeta } from "./field-types.js";
import type { BackendPath, PathMatch, PathTable } from "./path-table.js";

/** Describe a path, or where none is meant all that a mount serves, from the table of its paths. */
export function helpAnswer(mountPath: string, table: PathTable, match: PathMatch | undefined): Answer {
  const entries = match === undefined ? table.entries : [match.entry];
  const help = entries.map((entry) => describe(mountPath, entry)).join("\n\n");
  return { data: { help, see_also: null }, form: "bare" };
}

function describe(mountPath: string, { pattern, operations }: BackendPath): string {
  const lines = [`${mountPath}${pattern}`];
  for (const [verb, { summary, access, fields }] of Object.entries(operations)) {
    lines.push(`    ${verb}: ${summary}${access === "token" ? "" : ` (${access})`}`);
    for (const [name, field] of Object.entries(fields?.shape ?? {})) {
      const meta = (field as z.ZodType).meta() as FieldMeta | undefined;
      lines.push(`        ${name} (${meta?.type ?? "any"})`);
    }
  }
  return lines.join("\n");
}
