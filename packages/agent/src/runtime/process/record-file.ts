import { open, readFile, rename, stat } from "node:fs/promises";
import { RksError } from "@rk8s/protocol";
import { z } from "zod";

/** What the runtime writes down of a sandbox when it makes it. */
export const sandboxRecord = z.object({
  namespace: z.string(),
  name: z.string(),
  uid: z.string(),
  attempt: z.number().int(),
  manifest: z.string(),
  createdAtMs: z.number(),
});
export type SandboxRecord = z.infer<typeof sandboxRecord>;

/** What the runtime writes down of a container when it makes it. */
export const containerRecord = z.object({
  name: z.string(),
  attempt: z.number().int(),
  image: z.string().optional(),
  command: z.array(z.string()),
  args: z.array(z.string()),
  workingDir: z.string().optional(),
  env: z.array(z.object({ name: z.string(), value: z.string() })),
});

/** Write a file that only its owner reads, whole or not at all. @throws {RksError} RUNTIME_FAILED. */
export async function writeRecord(path: string, content: string): Promise<void> {
  const draft = `${path}.new`;
  try {
    const file = await open(draft, "w", 0o600);
    try {
      await file.writeFile(content);
    } finally {
      await file.close();
    }
    await rename(draft, path);
  } catch (cause) {
    throw new RksError("RUNTIME_FAILED", `"${path}" could not be written: ${(cause as Error).message}`, {
      cause,
      suggestion: "Check the space and the permissions of the agent's data folder.",
    });
  }
}

/** A record that is there and whole, else undefined. */
export async function readRecord<T>(path: string, schema: z.ZodType<T>): Promise<T | undefined> {
  const text = await readText(path);
  if (text === undefined) return undefined;
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** A file's text; undefined when there is none. */
export async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (reason) {
    if ((reason as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw reason;
  }
}

/** When a file was last written; undefined when there is none. */
export async function writtenAtMs(path: string): Promise<number | undefined> {
  try {
    return Math.round((await stat(path)).mtimeMs);
  } catch {
    return undefined;
  }
}
