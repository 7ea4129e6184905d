import { chmod, mkdtemp, rename, rm } from "node:fs/promises";
import type { Server } from "node:http";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { RksError } from "@rk8s/protocol";

/** `sun_path` holds 108 bytes with its final zero (unix(7)). */
const MAX_PATH_BYTES = 107;
/** A process that is alive accepts at once; one that hangs is not waited for. */
const PROBE_TIMEOUT_MS = 1000;

/**
 * Let a server listen at a path with mode 0600 from its first moment, in place of whatever was there.
 * The caller must hold the lock on the folder. `rm` the path after closing.
 * @throws {RksError} CONFIG_INVALID when the path is too long for a socket, STORAGE_UNWRITABLE.
 */
export async function listenOnUnixSocket(server: Server, path: string): Promise<void> {
  assertPathFits(path, "/.sXXXXXX/s".length - "/rks.sock".length);
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
    if (cause instanceof RksError) throw cause;
    server.close();
    throw new RksError("STORAGE_UNWRITABLE", `cannot make the socket "${path}"`, {
      cause,
      suggestion: "Make the vault folder writable for the user that runs rks.",
    });
  } finally {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  }
}

/** @throws {RksError} CONFIG_INVALID when a socket cannot have this path. */
export function assertPathFits(path: string, extraBytes = 0): void {
  const length = Buffer.byteLength(path);
  const most = MAX_PATH_BYTES - extraBytes;
  if (length <= most) return;
  throw new RksError(
    "CONFIG_INVALID",
    `the socket path "${path}" has ${length} bytes; the system allows ${most}`,
    {
      suggestion: "Choose a vault_folder with a shorter path.",
    },
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
