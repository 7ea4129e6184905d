import type { CliIo } from "@rk8s/host/cli-io";
import { main } from "../main.js";

/** What a command said. */
export interface Transcript {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunInput {
  readonly stdin?: string;
  readonly env?: Record<string, string>;
  readonly onStdout?: (text: string) => void;
  readonly onStderr?: (text: string) => void;
  /** Handed what ends the command as SIGTERM does, and what does as SIGHUP does. */
  readonly onTerminable?: (terminate: () => void, hangUp: () => void) => void;
}

/** Run a command in a folder, in this process. */
export async function runRks(
  folder: string,
  argv: readonly string[],
  input: RunInput = {},
): Promise<Transcript> {
  let stdout = "";
  let stderr = "";
  const io: CliIo = {
    cwd: folder,
    env: input.env ?? {},
    stdin: (async function* () {
      await Promise.resolve();
      yield Buffer.from(input.stdin ?? "");
    })(),
    stdout: (text) => {
      stdout += text;
      input.onStdout?.(text);
    },
    writeStdout: (text) => {
      io.stdout(text);
      return Promise.resolve();
    },
    stderr: (text) => {
      stderr += text;
      input.onStderr?.(text);
    },
    onStdoutClosed: () => ({ [Symbol.dispose]: () => undefined }),
    onCrash: () => ({ [Symbol.dispose]: () => undefined }),
    exit: () => undefined,
    onTerminate: (listener, { onHangUp = listener } = {}) => {
      input.onTerminable?.(
        () => listener("SIGTERM"),
        () => onHangUp("SIGHUP"),
      );
      return { [Symbol.dispose]: () => undefined };
    },
  };
  const exit = await main(argv, io);
  return { exit, stdout, stderr };
}
