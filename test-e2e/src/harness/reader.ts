import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { ROOT } from "./process.js";

/** Somebody who pastes the commands of a page into shells, in an empty folder, with `rks` and `rkl` on the path. */
export class Reader implements AsyncDisposable {
  readonly folder: string;
  readonly #prefix: readonly string[];
  readonly #terminals: Terminal[] = [];

  private constructor(folder: string, prefix: readonly string[]) {
    this.folder = folder;
    this.#prefix = prefix;
  }

  /** `prefix`: words before every command, for example of a lab's host. */
  static async create(prefix: readonly string[]): Promise<Reader> {
    return new Reader(await mkdtemp(join(tmpdir(), "rk8s-reader-")), prefix);
  }

  /** Paste what ends by itself; resolves with what it printed. @throws Error when a command fails. */
  async run(commands: string): Promise<string> {
    const terminal = this.#paste(commands);
    if ((await terminal.ended) !== 0) throw new Error(`failed:\n${commands}\n${terminal.said}`);
    return terminal.said;
  }

  /** Paste what stays in the foreground, into a terminal of its own; resolves once it has said this. */
  async open(commands: string, says: string): Promise<Terminal> {
    const terminal = this.#paste(commands);
    await terminal.saying(says);
    return terminal;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#terminals.map(async (terminal) => terminal.interrupt("SIGKILL")));
    await rm(this.folder, { recursive: true, force: true, maxRetries: 10 });
  }

  #paste(commands: string): Terminal {
    const { PATH = "" } = process.env;
    const path = [join(ROOT, "node_modules", ".bin"), PATH].join(delimiter);
    const [command, ...words] = [...this.#prefix, "bash", "-euo", "pipefail", "-c", commands];
    const child = spawn(command, words, {
      cwd: this.folder,
      detached: true,
      env: { HOME: this.folder, PATH: path, LC_ALL: "C.UTF-8" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const terminal = new Terminal(child);
    this.#terminals.push(terminal);
    return terminal;
  }
}

/** What one paste has started, and all that it has printed. */
export class Terminal {
  said = "";
  /** The exit status, null when a signal ended the shell. */
  readonly ended: Promise<number | null>;
  readonly #child: ChildProcess;
  #hasEnded = false;

  constructor(child: ChildProcess) {
    this.#child = child;
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding("utf8").on("data", (chunk: string) => {
        this.said += chunk;
        child.emit("said");
      });
    }
    this.ended = once(child, "close").then(([status]) => {
      this.#hasEnded = true;
      child.emit("said");
      return status as number | null;
    });
  }

  /** Wait until it has said this after the first `from` characters. @throws Error with all it said, when it ends before. */
  async saying(text: string, from = 0): Promise<void> {
    while (!this.said.slice(from).includes(text)) {
      if (this.#hasEnded) throw new Error(`ended without "${text}":\n${this.said}`);
      await once(this.#child, "said");
    }
  }

  /** Ctrl-C, or another signal, to all that runs in it; resolves when it is gone. */
  async interrupt(signal: NodeJS.Signals = "SIGINT"): Promise<void> {
    if (this.#hasEnded) return;
    process.kill(-this.#child.pid!, signal);
    await this.ended;
  }
}
