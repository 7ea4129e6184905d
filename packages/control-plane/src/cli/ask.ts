import { RksError } from "@rk8s/protocol";
import type { z } from "zod";
import type { Asked } from "./target.js";

/**
 * Ask the running rks and check that it answered what this version expects.
 * @throws {RksError} MESSAGE_INVALID for an answer of another shape, and as `ClusterClient.request`.
 */
export async function ask<S extends z.ZodType>(
  target: Asked,
  schema: S,
  method: "GET" | "POST" | "DELETE",
  path: string,
  body?: unknown,
): Promise<z.output<S>> {
  const answer = schema.safeParse(await target.client.request(method, path, body));
  if (answer.success) return answer.data;
  throw new RksError(
    "MESSAGE_INVALID",
    `rks at "${target.address}" answered in a shape that this version does not know`,
    {
      cause: answer.error,
      suggestion: "Use an rks command of the same version as the rks that runs.",
    },
  );
}
