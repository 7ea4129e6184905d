import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export const RKS = fileURLToPath(new URL("../../packages/control-plane/bin/rks.js", import.meta.url));
export const RKL = fileURLToPath(new URL("../../packages/agent/bin/rkl.js", import.meta.url));
/** Linux reports a process's CPU time in hundredths of a second. */
const TICK_MS = 10;
const PAGE_KIB = 4;

interface Ready {
  readonly quic: string;
  readonly http: string;
  readonly socket: string;
}

export interface StartOptions {
  /** Leave the root token in the folder. */
  readonly keepSecrets?: boolean;
  /** Further lines of config.yaml. */
  readonly config?: string;
  /** Called with the vault folder, after it was initialised and before rks starts. */
  readonly prepare?: (vaultFolder: string) => Promise<void>;
  /** Called with every line of its log. */
  readonly onLog?: (line: string) => void;
}

/** A real `rks` in a folder of its own. */
export class ControlPlane implements AsyncDisposable {
  readonly address: string;
  /** `https://host:port` of the Vault API. */
  readonly httpAddress: string;
  readonly rootCertPath: string;
  readonly #folder: string;
  readonly #socket: string;
  readonly #process: ChildProcess;
  readonly #onLog: ((line: string) => void) | undefined;

  private constructor(folder: string, child: ChildProcess, ready: Ready, onLog: StartOptions["onLog"]) {
    this.#folder = folder;
    this.#process = child;
    this.#onLog = onLog;
    this.address = ready.quic;
    this.httpAddress = ready.http;
    this.#socket = ready.socket;
    this.rootCertPath = join(folder, "data", "root.pem");
  }

  static async start(options: StartOptions = {}): Promise<ControlPlane> {
    const folder = mkdtempSync(join(tmpdir(), "rk8s-bench-"));
    const { keepSecrets = false, config = "", onLog, prepare } = options;
    const tls = `{ vault_folder: ./data, keep_dangerous_files: ${keepSecrets} }`;
    writeFileSync(
      join(folder, "config.yaml"),
      `addr: "127.0.0.1:0"\nhttp_addr: "127.0.0.1:0"\ntls_config: ${tls}\n${config}\n`,
    );
    await promisify(execFile)(process.execPath, [
      RKS,
      "gen",
      "certs",
      "--config",
      join(folder, "config.yaml"),
    ]);
    await prepare?.(join(folder, "data"));
    return ControlPlane.#run(folder, onLog);
  }

  static async #run(folder: string, onLog: StartOptions["onLog"]): Promise<ControlPlane> {
    const child = spawn(process.execPath, [RKS, "start", "--config", join(folder, "config.yaml"), "--json"], {
      stdio: ["ignore", "pipe", onLog === undefined ? "ignore" : "pipe"],
    });
    if (onLog !== undefined) createInterface({ input: child.stderr! }).on("line", onLog);
    const [line] = (await once(createInterface({ input: child.stdout! }), "line")) as [string];
    return new ControlPlane(folder, child, JSON.parse(line) as Ready, onLog);
  }

  /** Kill the process and start another one on the same folder and port; this one must not be used any more. */
  async restart(): Promise<ControlPlane> {
    this.#process.kill("SIGKILL");
    await once(this.#process, "exit");
    const file = join(this.#folder, "config.yaml");
    writeFileSync(file, readFileSync(file, "utf8").replace(/^addr: .*$/m, `addr: "${this.address}"`));
    return ControlPlane.#run(this.#folder, this.#onLog);
  }

  /** With `keepSecrets`. */
  get rootToken(): string {
    return readFileSync(join(this.#folder, "data", "root_token.txt"), "utf8").trim();
  }

  /** A path in the folder that goes with this control plane. */
  pathOf(name: string): string {
    return join(this.#folder, name);
  }

  /** A new token, by default for one node. */
  async mintToken(options: { readonly uses?: number; readonly ttlSeconds?: number } = {}): Promise<string> {
    const answer = await this.#ask("POST", "/v1/rk8s/join-tokens", options);
    return (JSON.parse(answer) as { data: { token: string } }).data.token;
  }

  /** When the node sent its last heartbeat, as rks has it. */
  async lastHeartbeat(nodeName: string): Promise<number> {
    const answer = await this.#ask("GET", `/v1/rk8s/nodes/${nodeName}`);
    return Date.parse((JSON.parse(answer) as { data: { lastHeartbeat: string } }).data.lastHeartbeat);
  }

  /** CPU time of the process so far. Linux only. */
  get cpuMs(): number {
    const fields = readFileSync(`/proc/${this.#process.pid}/stat`, "utf8").split(") ")[1]!.split(" ");
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
  }

  get residentMib(): number {
    return residentMib(this.#process.pid!);
  }

  /** What of it is the process's own, not pages of files that the system can drop. */
  get privateMib(): number {
    const status = readFileSync(`/proc/${this.#process.pid}/status`, "utf8");
    return Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await once(this.#process, "exit");
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #ask(method: "GET" | "POST", path: string, body?: object): Promise<string> {
    return new Promise((resolve, reject) => {
      const call = request({ socketPath: this.#socket, path, method }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
        response.on("end", () => resolve(text));
      });
      call.on("error", reject);
      if (body !== undefined) call.setHeader("content-type", "application/json");
      call.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

/** Resident memory of a process. Linux only. */
export function residentMib(pid: number): number {
  return (Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]) * PAGE_KIB) / 1024;
}
