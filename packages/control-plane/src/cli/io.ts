/** Everything a command may touch of the process it runs in. Tests hand in their own. */
export interface CliIo {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: AsyncIterable<Uint8Array | string>;
  /** Results. */
  stdout(text: string): void;
  /** Talk: progress, hints, errors. */
  stderr(text: string): void;
  /** Call `listener` when the process is asked to end (SIGTERM, SIGINT); dispose to get the default back. */
  onTerminate(listener: (signal: string) => void): Disposable;
}

/** Exit code of a defect (EX_SOFTWARE of sysexits(3)). */
const DEFECT = 70;

/**
 * The real process. A reader that went away (`rks node list | head -1`) is no error; what nobody caught ends the
 * process with the exit code of a defect.
 */
export function processIo(): CliIo {
  process.on("uncaughtException", (error) => {
    process.stderr.write(`rks: a defect ends this process\n${error.stack ?? error.message}\n`);
    process.exit(DEFECT);
  });
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
    });
  }
  return {
    cwd: process.cwd(),
    env: process.env,
    stdin: process.stdin,
    stdout: (text) => void process.stdout.write(text),
    stderr: (text) => void process.stderr.write(text),
    onTerminate(listener) {
      const signals = ["SIGTERM", "SIGINT", "SIGHUP"] as const;
      for (const signal of signals) process.on(signal, listener);
      return {
        [Symbol.dispose]() {
          for (const signal of signals) process.off(signal, listener);
        },
      };
    },
  };
}
