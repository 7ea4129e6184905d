import { execFileSync } from "node:child_process";
import type { PipeDescriptors } from "./pipe-pair.js";

/** What systemd calls our descriptors in its store (`FileDescriptorName=`). */
const NAME = "rkl-identity";
/** SD_LISTEN_FDS_START of sd_listen_fds(3). */
const FIRST_DESCRIPTOR = 3;

type Environment = Record<string, string | undefined>;

/**
 * The pipes that systemd has kept while the service was restarted; undefined when there are none. The variables are
 * taken out of the environment, as sd_listen_fds(3) wants it.
 */
export function takeStoredPipes(env: Environment, pid: number): PipeDescriptors | undefined {
  const { LISTEN_PID, LISTEN_FDNAMES = "" } = env;
  for (const name of ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]) delete env[name];
  if (LISTEN_PID !== String(pid)) return undefined;
  const ours = LISTEN_FDNAMES.split(":").flatMap((name, i) => (name === NAME ? [FIRST_DESCRIPTOR + i] : []));
  const [first, second] = ours;
  return first === undefined || second === undefined ? undefined : [first, second];
}

/**
 * Ask systemd to keep the pipes while the service is restarted (`FileDescriptorStoreMax=2`, `NotifyAccess=all`). Node
 * cannot pass descriptors itself; `systemd-notify` can from version 254 on. False where nothing keeps them.
 */
export function storePipes(
  pipes: PipeDescriptors,
  env: Environment,
  run: typeof execFileSync = execFileSync,
): boolean {
  if (!env["NOTIFY_SOCKET"]) return false;
  const descriptors = pipes.map((_, i) => `--fd=${FIRST_DESCRIPTOR + i}`);
  try {
    run("systemd-notify", [...descriptors, `--fdname=${NAME}`, "FDSTORE=1"], {
      stdio: ["ignore", "ignore", "ignore", ...pipes],
      timeout: 5000,
    });
    return true;
  } catch {
    return false;
  }
}
