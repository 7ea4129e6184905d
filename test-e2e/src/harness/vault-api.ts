import { readFile } from "node:fs/promises";
import { request } from "node:https";
import { join } from "node:path";
import type { Cluster } from "./cluster.js";

/** The Vault API of a running rks over HTTPS, as root. */
export interface VaultApi {
  /** `https://host:port`. */
  readonly address: string;
  readonly token: string;
  /** The `data` of a read. @throws Error with what was answered. */
  read(path: string): Promise<Readonly<Record<string, unknown>>>;
  /** The `data` of a write, empty when there is none. @throws Error with what was answered. */
  write(path: string, body: object): Promise<Readonly<Record<string, unknown>>>;
  /** A document that is not JSON. */
  raw(path: string): Promise<string>;
}

/** Of a cluster that was made with `keep_dangerous_files`. */
export async function vaultApi(cluster: Cluster): Promise<VaultApi> {
  const token = (await readFile(join(cluster.vaultFolder, "root_token.txt"), "utf8")).trim();
  const ca = await readFile(cluster.rootCertPath);
  const address = cluster.httpAddress;
  const ask = (method: string, path: string, body?: object): Promise<string> =>
    new Promise((resolve, reject) => {
      const headers = { "x-vault-token": token };
      const asked = request(`${address}/v1/${path}`, { method, ca, headers, agent: false }, (answer) => {
        let text = "";
        answer.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
        answer.once("end", () => {
          if ((answer.statusCode ?? 500) < 300) resolve(text);
          else reject(new Error(`${method} ${path}: ${answer.statusCode} ${text}`));
        });
      });
      asked.once("error", reject);
      asked.end(body === undefined ? undefined : JSON.stringify(body));
    });
  const dataOf = (text: string): Readonly<Record<string, unknown>> =>
    text === "" ? {} : ((JSON.parse(text) as { data: Record<string, unknown> | null }).data ?? {});
  return {
    address,
    token,
    read: async (path) => dataOf(await ask("GET", path)),
    write: async (path, body) => dataOf(await ask("POST", path, body)),
    raw: (path) => ask("GET", path),
  };
}
