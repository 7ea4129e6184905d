import { open, readFile, rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import { RksError } from "@rk8s/protocol";
import { z } from "zod";
import type { NodeMemory, RememberedNode } from "./node-memory.js";

const MAX_BYTES = 65_536;

const nodeFile = z.strictObject({
  version: z.literal(1),
  nodeName: z.string().min(1).max(63),
  rksAddress: z.string().min(1).max(5000),
  rootPins: z
    .array(z.string().regex(/^[0-9a-f]{64}$/))
    .min(1)
    .max(8),
  refusedIssuers: z
    .array(z.string().regex(/^[0-9a-f]{64}$/))
    .max(16)
    .optional(),
  sequence: z.int().min(0),
  grantsLeft: z.int().min(0),
});

/** Where an agent's data folder has it. */
export function nodeFileOf(dataFolder: string): string {
  return join(dataFolder, "node.json");
}

/** The memory of a node in one file of its data folder, mode 0600. */
export function openNodeFile(path: string): NodeMemory {
  return {
    async load() {
      const bytes = await readBounded(path);
      if (bytes === undefined) return undefined;
      try {
        const { version: _version, ...node } = nodeFile.parse(JSON.parse(bytes.toString("utf8")));
        return node;
      } catch (cause) {
        throw unreadable(path, "it is damaged, or of another version", cause);
      }
    },

    async save(node: RememberedNode) {
      try {
        await replace(path, `${JSON.stringify({ version: 1, ...node }, undefined, 2)}\n`);
      } catch (cause) {
        const { code, message } = cause as NodeJS.ErrnoException;
        const isFull = code === "ENOSPC" || code === "EDQUOT";
        throw new RksError(
          isFull ? "STORAGE_FULL" : "STORAGE_UNWRITABLE",
          `"${path}" could not be written: ${message}`,
          { cause, suggestion: "Check the space and the permissions of the agent's data folder." },
        );
      }
    },
  };
}

async function readBounded(path: string): Promise<Buffer | undefined> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw unreadable(path, (cause as Error).message, cause);
  }
  if (bytes.length > MAX_BYTES) throw unreadable(path, `it has ${bytes.length} bytes`, undefined);
  return bytes;
}

/** Whole or not at all, also when the power fails. */
async function replace(path: string, content: string): Promise<void> {
  const draft = `${path}.new`;
  const file = await open(draft, "w", 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(draft, path);
  const folder = await open(dirname(path), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function unreadable(path: string, problem: string, cause: unknown): RksError {
  return new RksError("CONFIG_INVALID", `"${path}" cannot be read: ${problem}`, {
    cause,
    suggestion:
      "Restore it, or remove it and join with the token of `rks node rejoin NAME`; it holds no key and no token.",
  });
}
