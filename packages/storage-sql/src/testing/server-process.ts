import { spawn, spawnSync } from "node:child_process";
import type { ChildProcess, SpawnOptions } from "node:child_process";
import { once } from "node:events";
import { chown, readFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import { standStill } from "@rk8s/storage/testing/etcd";

/** How long a server may take to start; recovery after a kill included. */
const START_MS = 60_000;

/** The user that a database server runs as: they refuse root, and their files must be theirs. */
export interface ServerUser {
  readonly options: SpawnOptions;
  own(path: string): Promise<void>;
}

/** This user, or the one of that name when this is root. */
export function serverUser(name: string): ServerUser {
  if (process.getuid?.() !== 0) return { options: {}, own: () => Promise.resolve() };
  const [uid, gid] = [idOf("-u", name), idOf("-g", name)];
  return { options: { uid, gid }, own: (path) => chown(path, uid, gid) };
}

/** Run a program to its end. @throws {Error} with what it said when it fails */
export function runToEnd(program: string, args: readonly string[], options: SpawnOptions): void {
  const { status, error, stdout, stderr } = spawnSync(program, args, { ...options, encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} failed: ${error?.message ?? ""}${stdout}${stderr}`);
}

/** A port of 127.0.0.1 that nobody has right now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** A server in the foreground, which is up when it has said so. */
export class ServerProcess {
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#closed = once(child, "close");
  }

  /** @throws {Error} with its log when it ends before it says `ready`, or says nothing of it for a minute. */
  static async start(
    program: string,
    args: readonly string[],
    { ready, options }: { readonly ready: RegExp; readonly options: SpawnOptions },
  ): Promise<ServerProcess> {
    const child = spawn(program, args, { ...options, stdio: ["ignore", "ignore", "pipe"] });
    const server = new ServerProcess(child);
    const log: string[] = [];
    await new Promise<void>((resolve, reject) => {
      const fail = (why: string): void =>
        reject(new Error(`${program} did not start: ${why}\n${log.join("\n")}`));
      const timer = setTimeout(() => {
        child.kill("SIGKILL");
        fail("time is up");
      }, START_MS);
      createInterface({ input: child.stderr }).on("line", (line) => {
        log.push(line);
        if (log.length > 100) log.shift();
        if (!ready.test(line)) return;
        clearTimeout(timer);
        resolve();
      });
      child.once("close", () => {
        clearTimeout(timer);
        fail("it ended");
      });
    });
    return server;
  }

  /** SIGKILL for it and all that it started, as when the power fails; resolves when nothing of it is left. */
  async kill(): Promise<void> {
    const pid = this.#child.pid ?? 0;
    const children = await childrenOf(pid);
    this.#child.kill("SIGKILL");
    for (const child of children) killIfThere(child);
    await this.#closed;
    for (const child of children) {
      while (await isAlive(child)) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Stop every process of it, so that it neither answers nor ends. */
  async pause(): Promise<void> {
    for (const pid of [this.#child.pid ?? 0, ...(await childrenOf(this.#child.pid ?? 0))]) {
      await standStill(pid);
    }
  }

  async resume(): Promise<void> {
    for (const pid of [this.#child.pid ?? 0, ...(await childrenOf(this.#child.pid ?? 0))]) {
      process.kill(pid, "SIGCONT");
    }
  }
}

/** PostgreSQL's processes are leaders of groups of their own, so there is no group to signal. */
async function childrenOf(pid: number): Promise<readonly number[]> {
  try {
    const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8");
    return text.split(" ").map(Number).filter(Boolean);
  } catch {
    return [];
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // Gone already.
  }
}

/** A zombie is not alive: nobody may be there to wait for it. */
async function isAlive(pid: number): Promise<boolean> {
  try {
    return !/\) Z/.test(await readFile(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

function idOf(flag: string, user: string): number {
  const { status, stdout } = spawnSync("id", [flag, user], { encoding: "utf8" });
  if (status !== 0) throw new Error(`there is no user "${user}"`);
  return Number(stdout);
}
