import { access, constants, stat } from "node:fs/promises";
import { isAbsolute, join, resolve } from "node:path";
import { RksError } from "@rk8s/protocol";
import type { ContainerConfig } from "../pod-runtime.js";

/** Where commands are looked for when neither the container nor the runtime's owner says otherwise. */
export const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** A container's command, ready to be started. */
export interface CommandLine {
  /** Absolute path of the program. */
  readonly file: string;
  readonly args: readonly string[];
  readonly workingDir: string;
  readonly path: string;
  /** The whole environment; nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
}

export interface CommandLineOptions {
  /** Where the command runs when the container names no folder; also its HOME. */
  readonly folder: string;
  readonly hostname: string;
  readonly path: string;
}

/**
 * Find the program and put its environment together: PATH, HOME and HOSTNAME, then the container's own variables.
 * Whatever is in the agent's environment stays there.
 * @throws {RksError} RUNTIME_FAILED when there is no command, no such folder or no such program.
 */
export async function resolveCommandLine(
  config: ContainerConfig,
  options: CommandLineOptions,
): Promise<CommandLine> {
  const [program, ...rest] = [...config.command, ...config.args];
  if (program === undefined || program === "" || config.command.length === 0) {
    throw new RksError("RUNTIME_FAILED", `container "${config.name}" has no command`, {
      suggestion: "Give the container a command: the process runtime runs no images.",
    });
  }
  const workingDir = resolve(options.folder, config.workingDir ?? ".");
  if (!(await isFolder(workingDir))) {
    throw new RksError(
      "RUNTIME_FAILED",
      `container "${config.name}": working directory "${workingDir}" is not a folder`,
      {
        suggestion: "Make the folder or correct workingDir.",
      },
    );
  }
  const own = Object.fromEntries(config.env.map(({ name, value }) => [name, value]));
  const env = { PATH: options.path, HOME: options.folder, HOSTNAME: options.hostname, ...own };
  const file = await findProgram(program, workingDir, env.PATH);
  if (file === undefined) {
    throw new RksError(
      "RUNTIME_FAILED",
      `container "${config.name}": command ${JSON.stringify(program.slice(0, 200))} is not an executable file on this host`,
      {
        suggestion: "Install the program on the node or correct the container's command.",
      },
    );
  }
  return { file, args: rest, workingDir, path: env.PATH, env };
}

async function findProgram(program: string, workingDir: string, path: string): Promise<string | undefined> {
  const candidates = program.includes("/")
    ? [resolve(workingDir, program)]
    : path
        .split(":")
        .filter(isAbsolute)
        .map((folder) => join(folder, program));
  for (const candidate of candidates) if (await isProgram(candidate)) return candidate;
  return undefined;
}

/** Whether a file is there and may be executed. */
export async function isProgram(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false;
  }
}
