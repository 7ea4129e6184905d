import { execFile } from "node:child_process";
import { mkdir, open, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const execute = promisify(execFile);

/** Fits a new vault with its staging, and is full at once. */
const BYTES = 24 * 1024 * 1024;
const BLOCK = new Uint8Array(4096);

export type FileSystem = "tmpfs" | "ext4";

/** A small disk that is mounted in a folder of its own. Needs root on Linux; ext4 goes over a loop device. */
export class SmallDisk implements AsyncDisposable {
  /** Where it is mounted. */
  readonly path: string;
  readonly #image: string | undefined;
  readonly #ballast: string;

  private constructor(path: string, image: string | undefined) {
    this.path = path;
    this.#image = image;
    this.#ballast = join(path, "ballast");
  }

  /** Make one and mount it at `<folder>/data`, by default just big enough for a vault. */
  static async mount(folder: string, type: FileSystem, bytes = BYTES): Promise<SmallDisk> {
    const path = join(folder, "data");
    await mkdir(path);
    if (type === "tmpfs") {
      await execute("mount", ["-t", "tmpfs", "-o", `size=${bytes},mode=0700`, "tmpfs", path]);
      return new SmallDisk(path, undefined);
    }
    const image = join(folder, "disk.img");
    await (await open(image, "w")).close();
    await truncate(image, bytes);
    await execute("mkfs.ext4", ["-q", "-m", "0", image]);
    const disk = new SmallDisk(path, image);
    await disk.#mountImage();
    return disk;
  }

  /** Use up every block that is left. */
  async fill(): Promise<void> {
    const file = await open(this.#ballast, "a");
    try {
      for (;;) await file.appendFile(BLOCK);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
      await file.sync().catch(() => undefined);
    } finally {
      await file.close();
    }
  }

  /** Make space again. */
  async free(): Promise<void> {
    await rm(this.#ballast);
    await execute("sync", ["-f", this.path]);
  }

  /** What a disk does that has failed: everything is refused but reading. Open files are no hindrance. */
  async fail(): Promise<void> {
    await execute("mount", ["-o", "remount,abort", this.path]);
  }

  /** Check and mount it anew, as an administrator would. Nobody may use it meanwhile. */
  async repair(): Promise<void> {
    await execute("umount", [this.path]);
    // Exit status 1: errors were corrected.
    await execute("e2fsck", ["-f", "-y", this.#image!]).catch((error: { readonly code?: number }) => {
      if (error.code !== 1) throw error;
    });
    await this.#mountImage();
  }

  /** Mount it without the right to write, or with it again. Nobody may have files open in it. */
  async setReadOnly(isReadOnly: boolean): Promise<void> {
    await execute("mount", ["-o", `remount,${isReadOnly ? "ro" : "rw"}`, this.path]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await execute("umount", ["-l", this.path]).catch(() => undefined);
  }

  async #mountImage(): Promise<void> {
    await execute("mount", ["-o", "loop", this.#image!, this.path]);
  }
}
