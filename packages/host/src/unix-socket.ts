import { chmod, mkdtemp, rename, rm } from "node:fs/promises";
import type { Server } from "node:http";
import { connect } from "node:net";
import { basename, dirname, join } from "node:path";
import { RksError } from "@rk8s/protocol";

/** What a socket is called at first: see below. */
const FIRST_NAME_BYTES = "/.sXXXXXX/s".length;
/** `sun_path` holds 108 bytes with its final zero (unix(7)). */
const MAX_PATH_BYTES = 107;
/** A process that is alive accepts at once; one that hangs is not waited for. */
const PROBE_TIMEOUT_MS = 1000;

export interface ListenOptions {
  /** Where the operator chooses the socket's folder, for the remedies of errors: `--data-dir`. */
  readonly setting: string;
}

/**
 * Let a server listen at a path with mode 0600 from its first moment, in place of whatever was there.
 * The caller must hold the lock on the folder. `rm` the path after closing.
 * @throws {RksError} CONFIG_INVALID when the path is too long for a socket, STORAGE_UNWRITABLE.
 */
export async function listenOnUnixSocket(
  server: Server,
  path: string,
  options: ListenOptions,
): Promise<void> {
  const firstIsLonger = Math.max(0, FIRST_NAME_BYTES - "/".length - Buffer.byteLength(basename(path)));
  assertFits(path, MAX_PATH_BYTES - firstIsLonger, `Give ${options.setting} a folder with a shorter path.`);
  let folder: string | undefined;
  try {
    // A folder of its own is 0700, so that nobody can connect before the mode is set.
    folder = await mkdtemp(join(dirname(path), ".s"));
    const first = join(folder, "s");
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(first, () => {
        server.off("error", reject);
        resolve();
      });
    });
    await chmod(first, 0o600);
    await rename(first, path);
  } catch (cause) {
    server.close();
    const reason = (cause as Error).message;
    throw new RksError("STORAGE_UNWRITABLE", `cannot make the socket "${path}": ${reason}`, {
      cause,
      suggestion: `Give ${options.setting} a folder on a local disk that this user may write to.`,
    });
  } finally {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  }
}

/** @throws {RksError} CONFIG_INVALID when a socket cannot have this path. */
export function assertSocketPath(path: string): void {
  assertFits(path, MAX_PATH_BYTES, "Choose a folder with a shorter path.");
}

function assertFits(path: string, most: number, suggestion: string): void {
  const length = Buffer.byteLength(path);
  if (length <= most) return;
  throw new RksError(
    "CONFIG_INVALID",
    `the socket path "${path}" has ${length} bytes; the system allows ${most}`,
    { suggestion },
  );
}

/** Whether a process accepts connections at the path. */
export function socketAnswers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    if (Buffer.byteLength(path) > MAX_PATH_BYTES) return resolve(false);
    const socket = connect(path);
    const settle = (answers: boolean): void => {
      socket.destroy();
      resolve(answers);
    };
    socket.setTimeout(PROBE_TIMEOUT_MS, () => settle(true));
    socket.once("connect", () => settle(true));
    socket.once("error", () => settle(false));
  });
}
