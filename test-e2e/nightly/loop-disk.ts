import { execFile } from "node:child_process";
import { mkdir, open, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const execute = promisify(execFile);
const BYTES = 128 * 1024 * 1024;

/**
 * An ext4 disk over a loop device whose power can be cut: what no program had synchronised is gone then, as the disk's
 * page cache is not in the file that backs it. Needs root on Linux.
 */
export class LoopDisk implements AsyncDisposable {
  /** Where it is mounted. */
  readonly path: string;
  #image: string;
  #cuts = 0;

  private constructor(path: string, image: string) {
    this.path = path;
    this.#image = image;
  }

  /** Make one and mount it at `<folder>/data`. */
  static async mount(folder: string): Promise<LoopDisk> {
    const disk = new LoopDisk(join(folder, "data"), join(folder, "disk-0.img"));
    await mkdir(disk.path);
    await (await open(disk.#image, "w")).close();
    await truncate(disk.#image, BYTES);
    await execute("mkfs.ext4", ["-q", "-m", "0", disk.#image]);
    await disk.#mount();
    return disk;
  }

  /**
   * Cut the power of everything on the disk, then switch it on again: what the disk holds now is mounted in its place.
   * Processes that use it must be stopped (SIGSTOP) before; `killAll` ends them once the disk's content is settled.
   */
  async cutPower(killAll: () => Promise<void>): Promise<void> {
    const before = this.#image;
    this.#image = before.replace(/\d+\.img$/, `${++this.#cuts}.img`);
    await execute("cp", ["--sparse=always", before, this.#image]);
    await killAll();
    await execute("umount", [this.path]);
    await rm(before);
    await this.#mount();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await execute("umount", ["-l", this.path]).catch(() => undefined);
  }

  async #mount(): Promise<void> {
    await execute("mount", ["-o", "loop", this.#image, this.path]);
  }
}
