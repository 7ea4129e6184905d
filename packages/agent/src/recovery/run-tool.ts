import { spawn } from "node:child_process";
import { RksError } from "@rk8s/protocol";

/** A program that signs is given up after this. A slow TPM makes a key in two seconds. */
const TIMEOUT_MS = 20_000;
const MAX_OUTPUT_BYTES = 65_536;

export interface ToolCall {
  /** A name that is looked for in PATH, or a path. */
  readonly program: string;
  readonly args: readonly string[];
  readonly stdin?: Uint8Array | undefined;
  /** All of its environment besides PATH. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Run a program of the host to its end; what it wrote on stdout.
 * @throws {RksError} UNSUPPORTED when it is not installed, fails, writes too much or takes too long, with the last
 * line that it said. Neither input nor output are repeated.
 */
export async function runTool(call: ToolCall): Promise<Buffer> {
  const { program, args, stdin, env = {}, signal } = call;
  signal?.throwIfAborted();
  const child = spawn(program, args, {
    stdio: ["pipe", "pipe", "pipe"],
    // No terminal and no window to ask on: what needs a passphrase fails.
    env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C", ...env },
    detached: true,
    timeout: TIMEOUT_MS,
    killSignal: "SIGKILL",
    signal,
  });
  const output: Buffer[] = [];
  let outputBytes = 0;
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => {
    outputBytes += chunk.length;
    if (outputBytes > MAX_OUTPUT_BYTES) child.kill("SIGKILL");
    else output.push(chunk);
  });
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => (said = (said + chunk).slice(-2000)));
  // A program that ends before it has read everything is judged by its exit status.
  child.stdin.on("error", () => undefined);
  child.stdin.end(stdin ?? new Uint8Array());
  const problem = await new Promise<string | undefined>((resolve) => {
    child.on("error", (error) => resolve(error.message));
    child.on("close", (status, killedBy) => {
      if (status === 0) resolve(undefined);
      else resolve(lastLine(said) ?? `it ended with ${status ?? killedBy}`);
    });
  });
  signal?.throwIfAborted();
  if (problem === undefined) return Buffer.concat(output);
  throw new RksError("UNSUPPORTED", `${program} ${args[0] ?? ""} failed: ${problem}`);
}

function lastLine(text: string): string | undefined {
  return text.trim().split("\n").at(-1)?.slice(0, 300) || undefined;
}
