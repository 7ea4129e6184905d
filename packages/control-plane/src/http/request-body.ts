import type { IncomingMessage } from "node:http";
import { RksError } from "@rk8s/protocol";
import type { z } from "zod";
import { HTTP_LIMITS } from "./http-limits.js";

const MAX_BODY_BYTES = HTTP_LIMITS.maxClusterBodyBytes;

/**
 * Read a JSON body; no body counts as `{}`.
 * @throws {RksError} MESSAGE_TOO_LARGE, MESSAGE_TRUNCATED, INPUT_INVALID for what is not JSON or not of the schema's shape.
 */
export async function readJsonBody<S extends z.ZodType>(
  request: IncomingMessage,
  schema: S,
): Promise<z.output<S>> {
  const text = await readText(request);
  const parsed = schema.safeParse(text.trim() === "" ? {} : parseJson(text));
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(
    (issue) => `${issue.path.length === 0 ? "body" : issue.path.join(".")}: ${issue.message.toLowerCase()}`,
  );
  throw new RksError("INPUT_INVALID", `the request has a wrong shape: ${problems.join("; ")}`, {
    suggestion: "Update the older side.",
  });
}

async function readText(request: IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of request as AsyncIterable<Uint8Array>) {
      length += chunk.length;
      if (length > MAX_BODY_BYTES) {
        throw new RksError("MESSAGE_TOO_LARGE", `a request body may have ${MAX_BODY_BYTES} bytes`);
      }
      chunks.push(chunk);
    }
  } catch (cause) {
    if (cause instanceof RksError) throw cause;
    throw new RksError("MESSAGE_TRUNCATED", "the request ended early", { cause });
  }
  return Buffer.concat(chunks).toString("utf8");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new RksError("INPUT_INVALID", "the request body is not JSON", { cause });
  }
}
