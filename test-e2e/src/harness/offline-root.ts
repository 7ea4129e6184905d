import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { assertDone, type Cluster } from "./cluster.js";
import { runOutside } from "./outside-program.js";

const PAGE = new URL("../../../docs/offline-root.md", import.meta.url);

/**
 * The place where a root's key is kept: a folder with openssl. What is done there are the commands of
 * docs/offline-root.md, as they are written.
 */
export class OfflinePlace {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** Make the root. */
  static async make(folder: string): Promise<OfflinePlace> {
    const place = new OfflinePlace(folder);
    await place.run("make the root");
    return place;
  }

  get rootFile(): string {
    return join(this.folder, "root.pem");
  }

  /** Sign a request (PEM); gives the intermediate with its root, PEM. */
  async sign(csr: string): Promise<string> {
    await writeFile(join(this.folder, "intermediate.csr"), csr);
    await this.run("sign the request");
    return readFile(join(this.folder, "intermediate.pem"), "utf8");
  }

  /** Sign the root of another place; gives the cross-certificate, PEM. */
  async crossSign(next: OfflinePlace): Promise<string> {
    await writeFile(join(this.folder, "next-root.pem"), await readFile(next.rootFile));
    await this.run("sign the next root");
    return readFile(join(this.folder, "cross.pem"), "utf8");
  }

  /** Run the commands of the page that follow `# TITLE`. */
  private async run(title: string): Promise<void> {
    const page = await readFile(PAGE, "utf8");
    const script = new RegExp(`# ${title}\\n([\\s\\S]*?)\\n\`\`\``).exec(page)?.[1];
    if (script === undefined) throw new Error(`docs/offline-root.md does not say how to ${title}`);
    assertDone(await runOutside("sh", ["-euc", script], { cwd: this.folder }));
  }
}

/** Put the answer to the request that rks has left in the vault folder there, signed by `sign`. */
export async function answerRequest(
  { vaultFolder }: Cluster,
  sign: (csr: string) => string | Promise<string>,
): Promise<void> {
  const csr = await readFile(join(vaultFolder, "intermediate.csr"), "utf8");
  await writeFile(join(vaultFolder, "intermediate.pem"), await sign(csr));
}

/** A new intermediate for a running cluster, as `rks ca` takes it. */
export async function putIn(
  cluster: Cluster,
  place: OfflinePlace,
  step: "renew" | "prepare" = "renew",
  more = "",
): Promise<void> {
  const at = ["--config", cluster.configFile];
  const { stdout: csr } = assertDone(await cluster.rks(["ca", "csr", ...at]));
  const file = join(cluster.folder, "signed.pem");
  await writeFile(file, (await place.sign(csr)) + more);
  assertDone(await cluster.rks(["ca", step, "--certificates", file, ...at]));
}
