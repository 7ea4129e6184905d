import { createHash } from "node:crypto";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { RksError } from "@rk8s/protocol";
import type { ContainerConfig, SandboxConfig } from "../pod-runtime.js";
import {
  containerRecord,
  readRecord,
  sandboxRecord,
  writeRecord,
  type SandboxRecord,
} from "./record-file.js";

const SANDBOX_ID = /^[0-9a-f]{32}$/;
const CONTAINER_ID = /^([0-9a-f]{32})-([a-z0-9-]{1,63})-(\d{1,9})$/;

/** A wrapper that is about to end may still make a file in a folder that is being removed. */
const REMOVE = { recursive: true, force: true, maxRetries: 5, retryDelay: 50 } as const;

/**
 * Where sandboxes and containers are on disk, 0700 and 0600:
 *
 *     wrapper.sh                  see wrapper.ts
 *     exits/CONTAINER             its exit code, once it has ended
 *     SANDBOX/sandbox.json        written last when a sandbox is made: without it there is none
 *     SANDBOX/stopped             nothing may run in it any more
 *     SANDBOX/CONTAINER/container.json, started/, pid, log, log.1, drained, work/   (see wrapper.ts)
 *
 * Ids are made of digests and checked, so that no uid or name leads out of the folder.
 */
export class SandboxStore {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** Make the folders and clear away sandboxes that were never finished. @throws {RksError} RUNTIME_FAILED. */
  static async open(folder: string): Promise<SandboxStore> {
    const store = new SandboxStore(folder);
    await makeFolder(store.exitsFolder);
    for (const id of await entries(folder)) {
      if (SANDBOX_ID.test(id) && (await store.sandbox(id)) === undefined) await store.removeSandbox(id);
    }
    return store;
  }

  get exitsFolder(): string {
    return join(this.folder, "exits");
  }

  sandboxFolder(sandboxId: string): string {
    if (!SANDBOX_ID.test(sandboxId)) throw notFound("sandbox", sandboxId);
    return join(this.folder, sandboxId);
  }

  containerFolder(containerId: string): string {
    return join(this.sandboxFolder(this.sandboxOf(containerId)), containerId);
  }

  exitFile(containerId: string): string {
    this.sandboxOf(containerId);
    return join(this.exitsFolder, containerId);
  }

  /** The sandbox that a container is in, by its id. @throws {RksError} NOT_FOUND for what is no id. */
  sandboxOf(containerId: string): string {
    const match = CONTAINER_ID.exec(containerId);
    if (match === null) throw notFound("container", containerId);
    return match[1]!;
  }

  async addSandbox(config: SandboxConfig, createdAtMs: number): Promise<string> {
    const digest = createHash("sha256").update(`${config.uid}\0${config.attempt}`);
    const id = digest.digest("hex").slice(0, 32);
    const folder = this.sandboxFolder(id);
    if ((await this.sandbox(id)) !== undefined) return id;
    await makeFolder(folder);
    await writeRecord(join(folder, "sandbox.json"), JSON.stringify({ ...config, createdAtMs }));
    return id;
  }

  async sandbox(sandboxId: string): Promise<SandboxRecord | undefined> {
    return readRecord(join(this.sandboxFolder(sandboxId), "sandbox.json"), sandboxRecord);
  }

  async sandboxIds(): Promise<string[]> {
    return (await entries(this.folder)).filter((name) => SANDBOX_ID.test(name));
  }

  async removeSandbox(sandboxId: string): Promise<void> {
    const containers = await this.containerIds(sandboxId);
    await rm(this.sandboxFolder(sandboxId), REMOVE);
    await Promise.all(containers.map(async (id) => rm(this.exitFile(id), { force: true })));
  }

  async addContainer(sandboxId: string, config: ContainerConfig): Promise<string> {
    const id = `${sandboxId}-${config.name}-${config.attempt}`;
    const folder = this.containerFolder(id);
    if ((await this.container(id)) !== undefined) return id;
    await makeFolder(join(folder, "work"));
    await writeRecord(join(folder, "container.json"), JSON.stringify(config));
    return id;
  }

  async container(containerId: string): Promise<ContainerConfig | undefined> {
    const record = await readRecord(
      join(this.containerFolder(containerId), "container.json"),
      containerRecord,
    );
    return record && { ...record, image: record.image, workingDir: record.workingDir };
  }

  async containerIds(sandboxId: string): Promise<string[]> {
    return (await entries(this.sandboxFolder(sandboxId))).filter((name) => CONTAINER_ID.test(name));
  }

  /** Claim the right to start the container; false when somebody did before. */
  async claimStart(containerId: string): Promise<boolean> {
    try {
      await mkdir(join(this.containerFolder(containerId), "started"), { mode: 0o700 });
      return true;
    } catch (reason) {
      if ((reason as NodeJS.ErrnoException).code === "EEXIST") return false;
      throw folderFailure(this.containerFolder(containerId), reason);
    }
  }

  async removeContainer(containerId: string): Promise<void> {
    await rm(this.containerFolder(containerId), REMOVE);
    await rm(this.exitFile(containerId), { force: true });
  }
}

export function notFound(what: "sandbox" | "container", id: string): RksError {
  return new RksError("NOT_FOUND", `${what} ${JSON.stringify(id.slice(0, 120))} is not here`);
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw folderFailure(folder, cause);
  }
}

function folderFailure(folder: string, cause: unknown): RksError {
  return new RksError("RUNTIME_FAILED", `folder "${folder}" could not be made: ${(cause as Error).message}`, {
    cause,
    suggestion: "Check the space and the permissions of the agent's data folder.",
  });
}

async function entries(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (reason) {
    if ((reason as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw reason;
  }
}
