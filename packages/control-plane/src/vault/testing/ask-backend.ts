import type { Answer, Backend, JsonObject, Operation } from "../backend.js";
import { operationFor } from "../path-table.js";

/** Ask a backend directly, as if its caller had been let through; undefined also where it serves nothing. */
export async function askBackend(
  backend: Backend,
  operation: Exclude<Operation, "help">,
  path: string,
  data: JsonObject = {},
): Promise<Answer | undefined> {
  const match = backend.paths.match(path.replace(/\/$/, ""));
  const found = match === undefined ? undefined : operationFor(match.entry, operation);
  if (match === undefined || found === undefined) return undefined;
  const { parameters } = match;
  return found.handle({ operation, path, parameters, data, caller: undefined, connection: {} });
}
