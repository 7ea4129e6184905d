import type { CliIo } from "@rk8s/host/cli-io";
import { RksError, type Pod } from "@rk8s/protocol";
import { type PeerArguments } from "./flags.js";
import { STDIN_WORD } from "./flags.js";
import { MAX_MANIFEST_BYTES, parseManifests } from "./manifest.js";
import { printJson } from "./output.js";
import { openPeer, type PeerOptions } from "./peer.js";
import { readInput } from "./text-input.js";

/**
 * `rkl apply -f FILE` and `rkl pod create FILE`: create the pods of a manifest. The first that is refused ends the
 * command; those before it stay.
 */
export async function apply(
  args: PeerArguments & PeerOptions & { readonly filename: string },
  io: CliIo,
): Promise<void> {
  const isStdin = args.filename === STDIN_WORD;
  if (isStdin && args.joinTokenFile === STDIN_WORD) {
    throw new RksError("USAGE_INVALID", "manifest and join token cannot both come from stdin");
  }
  const text = await readInput(args.filename, io, { maxBytes: MAX_MANIFEST_BYTES, what: "a manifest" });
  const { pods, warnings } = parseManifests(text, isStdin ? "stdin" : args.filename);
  for (const warning of warnings) io.stderr(`warning: ${warning}\n`);
  await using peer = await openPeer(args, io, args);
  const applied: Pod[] = [];
  for (const manifest of pods) {
    const { pod } = await peer.ask({ type: "ApplyPod", manifest }, "Pod");
    applied.push(pod);
    if (!args.json) io.stdout(`pod/${pod.metadata.name} applied\n`);
  }
  if (args.json) printJson(io, applied.length === 1 ? applied[0] : applied);
}
