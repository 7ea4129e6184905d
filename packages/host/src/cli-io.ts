/** Everything a command may touch of the process it runs in. Tests hand in their own. */
export interface CliIo {
  readonly cwd: string;
  /** Commands take secrets out of it once they have read them. */
  readonly env: Record<string, string | undefined>;
  readonly stdin: AsyncIterable<Uint8Array | string>;
  /** Results. */
  stdout(text: string): void;
  /** Write to stdout; resolves when it is out of this process's hands, rejects when nobody takes it. */
  writeStdout(text: string): Promise<void>;
  /** Talk: progress, hints, errors. */
  stderr(text: string): void;
  /**
   * Call `listener` when the process is asked to end (SIGTERM, SIGINT, and SIGHUP unless `onHangUp` is given and called
   * instead); dispose to get the default back.
   */
  onTerminate(listener: (signal: string) => void, options?: TerminateOptions): Disposable;
  /** Call `listener` when nobody reads stdout any more (`… | head -1`). */
  onStdoutClosed(listener: () => void): Disposable;
  /** Call `listener` with an exception or rejection that nothing caught. */
  onCrash(listener: (reason: unknown) => void): Disposable;
  /** End the process now, whatever still runs. */
  exit(code: number): void;
}

export interface TerminateOptions {
  /** For what runs on after its terminal is gone, and takes SIGHUP for "read your files again". */
  readonly onHangUp?: ((signal: string) => void) | undefined;
}

/** A command has already said what is wrong; only its exit code is left to give. */
export class ReportedFailure extends Error {
  override readonly name = "ReportedFailure";
  readonly exitCode: number;

  constructor(exitCode: number) {
    super("the failure was reported");
    this.exitCode = exitCode;
  }
}

const CRASHES = ["uncaughtException", "unhandledRejection"] as const;

/** The real process. A reader that went away (`… | head -1`) is no error. */
export function processIo(): CliIo {
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
    writeStdout: (text) =>
      new Promise((resolve, reject) => {
        process.stdout.write(text, (error) => (error ? reject(error) : resolve()));
      }),
    stderr: (text) => void process.stderr.write(text),
    onTerminate(listener, { onHangUp = listener } = {}) {
      const listeners = [
        ["SIGTERM", listener],
        ["SIGINT", listener],
        ["SIGHUP", onHangUp],
      ] as const;
      for (const [signal, own] of listeners) process.on(signal, own);
      return disposable(() => {
        for (const [signal, own] of listeners) process.off(signal, own);
      });
    },
    onStdoutClosed(listener) {
      process.stdout.on("error", listener);
      return disposable(() => process.stdout.off("error", listener));
    },
    onCrash(listener) {
      for (const crash of CRASHES) process.on(crash, listener);
      return disposable(() => {
        for (const crash of CRASHES) process.off(crash, listener);
      });
    },
    exit: (code) => process.exit(code),
  };
}

function disposable(dispose: () => void): Disposable {
  return { [Symbol.dispose]: dispose };
}
