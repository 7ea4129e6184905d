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

/** A real `rks` in a folder of its own. */
export class ControlPlane implements AsyncDisposable {
  readonly address: string;
  /** `https://host:port` of the Vault API. */
  readonly httpAddress: string;
  readonly rootCertPath: string;
  readonly #folder: string;
  readonly #socket: string;
  readonly #process: ChildProcess;

  private constructor(folder: string, child: ChildProcess, ready: Ready) {
    this.#folder = folder;
    this.#process = child;
    this.address = ready.quic;
    this.httpAddress = ready.http;
    this.#socket = ready.socket;
    this.rootCertPath = join(folder, "data", "root.pem");
  }

  /** `keepSecrets` leaves the root token in the folder. */
  static async start(options: { readonly keepSecrets?: boolean } = {}): Promise<ControlPlane> {
    const folder = mkdtempSync(join(tmpdir(), "rk8s-bench-"));
    const { keepSecrets = false } = options;
    const tls = `{ vault_folder: ./data, keep_dangerous_files: ${keepSecrets} }`;
    writeFileSync(
      join(folder, "config.yaml"),
      `addr: "127.0.0.1:0"\nhttp_addr: "127.0.0.1:0"\ntls_config: ${tls}\n`,
    );
    await promisify(execFile)(process.execPath, [
      RKS,
      "gen",
      "certs",
      "--config",
      join(folder, "config.yaml"),
    ]);
    return ControlPlane.#run(folder);
  }

  static async #run(folder: string): Promise<ControlPlane> {
    const child = spawn(process.execPath, [RKS, "start", "--config", join(folder, "config.yaml"), "--json"], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
    return new ControlPlane(folder, child, JSON.parse(line) as Ready);
  }

  /** Kill the process and start another one on the same folder; this one must not be used any more. */
  async restart(): Promise<ControlPlane> {
    this.#process.kill("SIGKILL");
    await once(this.#process, "exit");
    return ControlPlane.#run(this.#folder);
  }

  /** With `keepSecrets`. */
  get rootToken(): string {
    return readFileSync(join(this.#folder, "data", "root_token.txt"), "utf8").trim();
  }

  /** A path in the folder that goes with this control plane. */
  pathOf(name: string): string {
    return join(this.#folder, name);
  }

  /** A new token for one node. */
  async mintToken(): Promise<string> {
    const answer = await this.#post("/v1/rk8s/join-tokens", {});
    return (JSON.parse(answer) as { data: { token: string } }).data.token;
  }

  /** CPU time of the process so far. Linux only. */
  get cpuMs(): number {
    const fields = readFileSync(`/proc/${this.#process.pid}/stat`, "utf8").split(") ")[1]!.split(" ");
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
  }

  get residentMib(): number {
    return residentMib(this.#process.pid!);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await once(this.#process, "exit");
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #post(path: string, body: object): Promise<string> {
    return new Promise((resolve, reject) => {
      const call = request({ socketPath: this.#socket, path, method: "POST" }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
        response.on("end", () => resolve(text));
      });
      call.on("error", reject);
      call.setHeader("content-type", "application/json");
      call.end(JSON.stringify(body));
    });
  }
}

/** Resident memory of a process. Linux only. */
export function residentMib(pid: number): number {
  return (Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]) * PAGE_KIB) / 1024;
}
