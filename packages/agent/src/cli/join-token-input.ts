import type { CliIo } from "@rk8s/host/cli-io";
import { parseJoinToken, type JoinToken } from "@rk8s/protocol";
import { type PeerArguments } from "./flags.js";
import { printHint } from "./output.js";
import { readInput } from "./text-input.js";
import { UsageProblem } from "./usage-problem.js";

/** A token has 107 characters. */
const MAX_TOKEN_BYTES = 4096;

/**
 * The join token, from `--join-token`, `--join-token-file`, JOIN_TOKEN or JOIN_TOKEN_FILE, in this order. JOIN_TOKEN is
 * taken out of the environment, so that no child process gets it.
 * @throws {UsageProblem} when there is none; {RksError} JOIN_TOKEN_MALFORMED, INPUT_INVALID.
 */
export async function readJoinToken(
  args: Pick<PeerArguments, "joinToken" | "joinTokenFile">,
  io: CliIo,
): Promise<JoinToken> {
  const fromEnv = io.env["JOIN_TOKEN"];
  delete io.env["JOIN_TOKEN"];
  if (args.joinToken !== undefined) {
    printHint(io, "other users of this host can see a token in argv: --join-token-file keeps it from them.");
    return parseJoinToken(args.joinToken);
  }
  const file = args.joinTokenFile ?? (fromEnv ? undefined : io.env["JOIN_TOKEN_FILE"]);
  if (file !== undefined && file !== "") {
    return parseJoinToken(await readInput(file, io, { maxBytes: MAX_TOKEN_BYTES, what: "a join token" }));
  }
  if (fromEnv) return parseJoinToken(fromEnv);
  throw new UsageProblem(
    "there is no join token",
    "Make one with `rks gen join-token` and give it with --join-token-file.",
  );
}
