import { constants } from "node:os";
import { join } from "node:path";
import type { Clock } from "@rk8s/protocol";
import { isAlive, parseProcessIdentity, type ProcessIdentity } from "./process-identity.js";
import { readText, writeRecord, writtenAtMs } from "./record-file.js";

/** Longer than the wrapper takes from the container's end to the exit file. */
const LOST_AFTER_MS = 5000;

/** How a container's process is, as the files beside it tell. */
export type ContainerProcess =
  | { readonly state: "created" }
  | {
      readonly state: "running";
      /** What may be signalled; undefined when it is gone and only its exit file is awaited. */
      readonly identity: ProcessIdentity | undefined;
      readonly startedAtMs: number | undefined;
    }
  | {
      readonly state: "exited";
      readonly exitCode: number;
      readonly reason: string;
      readonly message: string | undefined;
      readonly startedAtMs: number | undefined;
      readonly finishedAtMs: number | undefined;
    };

/** Looks at containers' files. It remembers since when a process is gone that left no exit file. */
export class ContainerProcesses {
  readonly #clock: Clock;
  readonly #goneSince = new Map<string, number>();

  constructor(ports: { readonly clock: Clock }) {
    this.#clock = ports.clock;
  }

  /** How the process of the container in `folder` is. A process that is gone without an exit file is lost after 5 s. */
  async look(folder: string, exitFile: string): Promise<ContainerProcess> {
    const exited = await readExit(folder, exitFile);
    if (exited !== undefined) return exited;
    const identity = parseProcessIdentity((await readText(join(folder, "pid"))) ?? "");
    if (identity === undefined) return { state: "created" };
    const running = {
      state: "running",
      identity,
      startedAtMs: await writtenAtMs(join(folder, "pid")),
    } as const;
    if (await isAlive(identity)) {
      this.#goneSince.delete(folder);
      return { ...running, identity };
    }
    const now = this.#clock.monotonicMs();
    const since = this.#goneSince.get(folder) ?? now;
    this.#goneSince.set(folder, since);
    if (now - since < LOST_AFTER_MS) return { ...running, identity: undefined };
    this.#goneSince.delete(folder);
    await writeExit(exitFile, {
      exitCode: 128 + constants.signals.SIGKILL,
      reason: "ContainerStatusUnknown",
      message: "the container ended while nobody watched, for example when the host restarted",
    });
    return (await readExit(folder, exitFile)) ?? { ...running, identity: undefined };
  }
}

export interface Exit {
  readonly exitCode: number;
  readonly reason: string;
  readonly message: string;
}

/** Write down how a container ended that no wrapper speaks for. */
export async function writeExit(exitFile: string, exit: Exit): Promise<void> {
  await writeRecord(exitFile, `${exit.exitCode}\n${exit.reason}\n${exit.message.replaceAll("\n", " ")}\n`);
}

async function readExit(folder: string, exitFile: string): Promise<ContainerProcess | undefined> {
  const text = await readText(exitFile);
  if (text === undefined) return undefined;
  const [code, reason, message] = text.split("\n");
  const exitCode = Number(code);
  return {
    state: "exited",
    exitCode,
    reason: reason || (exitCode === 0 ? "Completed" : "Error"),
    message: message || undefined,
    startedAtMs: await writtenAtMs(join(folder, "pid")),
    finishedAtMs: await writtenAtMs(exitFile),
  };
}
