import type { CliIo } from "@rk8s/host/cli-io";
import { RksError } from "@rk8s/protocol";
import { STDIN_WORD } from "./flags.js";
import { printHint } from "./output.js";
import { readSecretFile, readStdin } from "./secret-input.js";

/** Where unseal shares may be in the environment. */
const SHARES_VARIABLE = "RKS_UNSEAL_KEY";

/** Words and flags that name unseal shares. */
export interface ShareArguments {
  readonly key?: string | undefined;
  readonly "key-file"?: string | undefined;
}

/**
 * The unseal shares that a command line names, else those of the environment; undefined when there are none.
 * @throws {RksError} INPUT_INVALID when what is named holds none.
 */
export async function givenShares(args: ShareArguments, io: CliIo): Promise<readonly string[] | undefined> {
  const file = args["key-file"];
  if (args.key === STDIN_WORD || file === STDIN_WORD) return splitShares(await readStdin(io), "stdin");
  if (args.key !== undefined) {
    printHint(
      io,
      `other users can see command lines: better --key-file FILE, - (stdin) or $${SHARES_VARIABLE}`,
    );
    return splitShares(args.key, "the command line");
  }
  if (file !== undefined) return splitShares(await readSecretFile(file, io), file);
  const fromEnvironment = io.env[SHARES_VARIABLE];
  if (fromEnvironment === undefined || fromEnvironment === "") return undefined;
  return splitShares(fromEnvironment, `$${SHARES_VARIABLE}`);
}

/** Shares one a line, or the document that `gen certs` writes. */
function splitShares(text: string, source: string): readonly string[] {
  const shares = text.trimStart().startsWith("{")
    ? sharesOfDocument(text)
    : text.split(/\s+/).filter(Boolean);
  if (shares !== undefined && shares.length > 0) return shares;
  throw new RksError("INPUT_INVALID", `there is no unseal key in ${source}`, {
    suggestion: "Give one share a line, or keys.json as `rks gen certs` wrote it.",
  });
}

function sharesOfDocument(text: string): readonly string[] | undefined {
  try {
    const { keys } = JSON.parse(text) as { readonly keys?: unknown };
    return Array.isArray(keys) ? keys.filter((key): key is string => typeof key === "string") : undefined;
  } catch {
    return undefined;
  }
}
