import { resolve } from "node:path";
import type { CliIo } from "@rk8s/host/cli-io";
import { RksError } from "@rk8s/protocol";
import { agentStatus } from "../daemon/agent-status.js";
import { dataFolderOf } from "../daemon/data-folder.js";
import { agentSocketOf, readDocument, STATUS_PATH } from "../daemon/socket-peer.js";
import { formatFields, printJson } from "./output.js";

/** `rkl status`: how this host's agent is. */
export async function status(
  args: { readonly dataDir?: string | undefined; readonly json: boolean },
  io: CliIo,
): Promise<void> {
  const socket = agentSocketOf(resolve(io.cwd, args.dataDir ?? dataFolderOf(io.env)));
  io.stderr(`asking this host's agent by ${socket}\n`);
  const document = await readDocument(socket, STATUS_PATH, { program: "rkl", start: "rkl pod daemon" });
  if (args.json) return printJson(io, document);
  const parsed = agentStatus.safeParse(document);
  if (!parsed.success) {
    throw new RksError("MESSAGE_INVALID", "the agent answered in a shape that this version does not know", {
      cause: parsed.error,
      suggestion: "Use an rkl command of the same version as the agent that runs.",
    });
  }
  const {
    node,
    state,
    rksAddress,
    serial,
    notAfter,
    generation,
    renewAt,
    clockSkewSeconds,
    lastError,
    runtime,
    pods,
    pid,
    version,
    startedAt,
  } = parsed.data;
  const survives = Object.entries(parsed.data.survives ?? {}).map(([what, how]) => `${what}: ${how}`);
  io.stdout(
    formatFields([
      ["node", node ?? "-"],
      ["state", state],
      ["control plane", rksAddress],
      ["certificate", serial === null ? "-" : `${serial}, valid until ${notAfter ?? "-"}`],
      ["generation", generation === null ? "-" : String(generation)],
      ["next renewal", renewAt ?? "-"],
      ["clock", clockSkewSeconds === null ? "-" : skewText(clockSkewSeconds)],
      ["last error", lastError === null ? "-" : `${lastError.code}: ${lastError.message}`],
      ["survives", survives.join(", ") || "-"],
      ["runtime", runtime],
      ["pods", String(pods)],
      ["agent", `version ${version}, pid ${pid}, since ${startedAt}`],
    ]),
  );
}

function skewText(seconds: number): string {
  const direction = seconds < 0 ? "behind" : "ahead of";
  return `${Math.abs(seconds)} s ${direction} the control plane's`;
}
