import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** The repository's top folder. */
export const ROOT = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));

/** The two programs, as users start them. */
export const RKS = join(ROOT, "packages", "control-plane", "bin", "rks.js");
export const RKL = join(ROOT, "packages", "agent", "bin", "rkl.js");

/** How a finished command ended and what it said. */
export interface CommandResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface SpawnOptions {
  readonly stdin?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Words before the program's own, for example `["ip", "netns", "exec", …]`. */
  readonly prefix?: readonly string[];
  readonly cwd?: string;
}

/** Run a program of ours to its end. Never throws for a failing command: tests look at the status. */
export async function runCommand(
  program: string,
  args: readonly string[],
  options: SpawnOptions = {},
): Promise<CommandResult> {
  const child = start(program, args, options);
  const output = { stdout: "", stderr: "" };
  child.stdout?.setEncoding("utf8").on("data", (chunk: string) => (output.stdout += chunk));
  child.stderr?.setEncoding("utf8").on("data", (chunk: string) => (output.stderr += chunk));
  const [status] = (await once(child, "close")) as [number | null];
  return { status, ...output };
}

/** A JSON line that a daemon printed. */
export type JsonLine = Readonly<Record<string, unknown>>;

/** A running `rks start` or `rkl pod daemon` whose stdout is JSON lines. */
export class Daemon implements AsyncDisposable {
  readonly lines: JsonLine[] = [];
  stderr = "";
  readonly #child: ChildProcess;
  readonly #exited: Promise<number | null>;
  readonly #wakeUps = new Set<() => void>();
  #hasExited = false;

  constructor(program: string, args: readonly string[], options: SpawnOptions = {}) {
    this.#child = start(program, args, options);
    this.#child.stderr!.setEncoding("utf8").on("data", (chunk: string) => (this.stderr += chunk));
    const reader = createInterface({ input: this.#child.stdout! });
    reader.on("line", (line) => {
      this.lines.push(JSON.parse(line) as JsonLine);
      this.#wake();
    });
    this.#exited = once(this.#child, "close").then(([status]) => {
      this.#hasExited = true;
      this.#wake();
      return status as number | null;
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  get isRunning(): boolean {
    return !this.#hasExited;
  }

  /** Resolves with the exit status, null when a signal ended the process. */
  get exited(): Promise<number | null> {
    return this.#exited;
  }

  /**
   * The first line from index `from` on that matches, waiting for it.
   * @throws Error with everything the daemon said, when it exits first.
   */
  async line(matches: (line: JsonLine) => boolean, from = 0): Promise<JsonLine> {
    for (;;) {
      const found = this.lines.slice(from).find(matches);
      if (found !== undefined) return found;
      if (this.#hasExited) {
        throw new Error(`the process ended without the line:\n${JSON.stringify(this.lines)}\n${this.stderr}`);
      }
      await new Promise<void>((resolve) => this.#wakeUps.add(resolve));
    }
  }

  /** The next event of this name, from index `from` of the lines on. */
  async event(name: string, from = 0): Promise<JsonLine> {
    return this.line((line) => line["event"] === name, from);
  }

  kill(signal: NodeJS.Signals = "SIGKILL"): void {
    this.#child.kill(signal);
  }

  /** SIGTERM and wait; resolves with the exit status. */
  async stop(): Promise<number | null> {
    this.kill("SIGTERM");
    return this.#exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#hasExited) this.kill("SIGKILL");
    await this.#exited;
  }

  #wake(): void {
    for (const wake of this.#wakeUps) wake();
    this.#wakeUps.clear();
  }
}

function start(program: string, args: readonly string[], options: SpawnOptions): ChildProcess {
  const [command, ...rest] = [...(options.prefix ?? []), process.execPath, program, ...args];
  const child = spawn(command!, rest, {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...cleanEnvironment(), ...options.env },
    cwd: options.cwd,
  });
  child.stdin.on("error", () => undefined);
  child.stdin.end(options.stdin ?? "");
  return child;
}

/** Our environment without what would change how the programs behave. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const env = { ...process.env };
  for (const name of [
    "RKS_ADDRESS",
    "ENABLE_TLS",
    "ROOT_CERT_PATH",
    "JOIN_TOKEN",
    "JOIN_TOKEN_FILE",
    "NODE_OPTIONS",
    ...Object.keys(env).filter((variable) => variable.startsWith("VAULT_")),
  ]) {
    delete env[name];
  }
  return env;
}
