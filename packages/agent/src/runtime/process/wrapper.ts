import { spawn, type ChildProcess } from "node:child_process";
import { join } from "node:path";
import { RksError } from "@rk8s/protocol";
import { isProgram, type CommandLine } from "./command-line.js";
import { writeRecord } from "./record-file.js";

/**
 * Bytes after which a log file is set aside as `log.1`; together with the 4 MiB that one `dd` may add, a log
 * file never exceeds 10 MiB and a container's logs never 20 MiB.
 */
const ROTATE_BYTES = 6_291_456;

/** Where the wrapper's own tools are, whatever PATH the container has. */
const TOOL_FOLDERS = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"] as const;

/**
 * What stands between the agent and a container, so that exit code and logs outlive the agent. A shell and `dd`
 * rather than a script for node: measured 1 MB of memory a container instead of 40 (docs/adr, runtime).
 *
 * Arguments: container folder, exit file, rotate bytes, starter, the container's PATH, then the command. The starter makes the container the leader of a session and process group of its
 * own, so that signals to the group reach the container and everything it started, but not this shell.
 *
 * Files: `pid` (pid, its line in /proc or its start time, boot id),
 * `log`, `log.1`, `drained` (everything written before the exit is in the log), and the exit file, last.
 * Descriptor 3 tells the agent, if it still lives, that the container runs.
 */
const SCRIPT = `#!/bin/sh
umask 077
dir=$1 exit=$2 max=$3 starter=$4 path=$5
shift 5
PATH=${TOOL_FOLDERS.join(":")}
trap : HUP INT TERM
run='
  dir=$0 exit=$1 path=$2
  shift 2
  boot=
  if [ -r /proc/self/stat ]; then
    read -r start < /proc/$$/stat
    read -r boot < /proc/sys/kernel/random/boot_id
  else
    start=$(LC_ALL=C ps -o lstart= -p $$)
  fi
  printf "%s\\n%s\\n%s\\n" "$$" "$start" "$boot" > "$dir/pid.new" && mv "$dir/pid.new" "$dir/pid" || exit 126
  [ ! -e "$exit" ] || exit 126
  umask 022
  # The agent keeps its own memory out of core dumps; a container gets the default of core(5) back.
  (echo 0x33 > /proc/$$/coredump_filter) 2>/dev/null
  (echo started >&3) 2>/dev/null
  PATH=$path
  exec "$@" 3>&-
'
case $starter in
  perl) set -- perl -MPOSIX -e 'POSIX::setsid(); exec { $ARGV[0] } @ARGV; exit 126' sh -c "$run" "$dir" "$exit" "$path" "$@" ;;
  *) set -- setsid sh -c "$run" "$dir" "$exit" "$path" "$@" ;;
esac
{
  "$@"
  code=$?
  exec > /dev/null 2>&1 3>&-
  read -r pid < "$dir/pid" && kill -s KILL -- "-$pid"
  printf '%s\\n' "$code" > "$dir/exit.new"
  tries=0
  while [ ! -e "$dir/drained" ] && [ $tries -lt 40 ]; do sleep 0.025; tries=$((tries + 1)); done
  [ -e "$exit" ] || mv "$dir/exit.new" "$exit"
} 2>&1 | {
  exec > /dev/null 2>&1 3>&-
  trap '' HUP INT TERM
  LC_ALL=C
  export LC_ALL
  while :; do
    # Where the log cannot be written, output is thrown away: a full disk must not stop the container.
    report=$(exec dd bs=32768 count=128 2>&1 >> "$dir/log") ||
      report=$(exec dd bs=32768 count=32 2>&1 > /dev/null)
    case $report in '0+0 '*) break ;; esac
    [ "$(wc -c < "$dir/log")" -lt "$max" ] || mv -f "$dir/log" "$dir/log.1"
  done
  : > "$dir/drained"
}
`;

/** The program that gives a container a session of its own: util-linux or busybox, or what macOS has. */
export type Starter = "setsid" | "perl";

/** The starter of this host. @throws {RksError} UNSUPPORTED when there is none. */
export async function findStarter(): Promise<Starter> {
  for (const starter of ["setsid", "perl"] as const) {
    for (const folder of TOOL_FOLDERS) if (await isProgram(`${folder}/${starter}`)) return starter;
  }
  throw new RksError(
    "UNSUPPORTED",
    "this host has neither setsid nor perl, which the process runtime needs",
    {
      suggestion: "Install util-linux.",
    },
  );
}

export interface WrapperInit extends CommandLine {
  readonly folder: string;
  readonly exitFile: string;
  readonly starter: Starter;
  /** What `writeWrapper` gave. */
  readonly wrapper: string;
}

/** Put the wrapper's script into a folder, where `ps` shows its name instead of its text. @throws {RksError} RUNTIME_FAILED. */
export async function writeWrapper(folder: string): Promise<string> {
  const path = join(folder, "wrapper.sh");
  await writeRecord(path, SCRIPT);
  return path;
}

/**
 * Start the wrapper and wait until the container runs. It goes on when this process ends, however it ends.
 * @throws {RksError} RUNTIME_FAILED when the wrapper cannot be started or gives up before the container runs.
 */
export async function startWrapper(init: WrapperInit): Promise<void> {
  const { folder, exitFile, starter, path, workingDir, file, args, env } = init;
  const script = [init.wrapper, folder, exitFile, String(ROTATE_BYTES), starter, path, file, ...args];
  const child = spawnWrapper(script, {
    cwd: workingDir,
    env: { ...env },
  });
  child.unref();
  const started = child.stdio[3]!;
  try {
    await new Promise<void>((resolve, reject) => {
      child.once("error", (cause) => reject(startFailure(cause)));
      started.once("error", (cause) => reject(startFailure(cause)));
      started.once("data", () => resolve());
      started.once("close", () => reject(startFailure(new Error("it ended before the container ran"))));
    });
  } finally {
    started.destroy();
  }
}

function spawnWrapper(
  args: readonly string[],
  where: { cwd: string; env: Record<string, string> },
): ChildProcess {
  try {
    return spawn("/bin/sh", args, {
      ...where,
      detached: true,
      stdio: ["ignore", "ignore", "ignore", "pipe"],
    });
  } catch (cause) {
    throw startFailure(cause);
  }
}

function startFailure(cause: unknown): RksError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new RksError("RUNTIME_FAILED", `the wrapper of a container could not be started: ${why}`, { cause });
}
