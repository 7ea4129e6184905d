import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { Cluster } from "./harness/cluster.js";
import { Daemon, ROOT } from "./harness/process.js";

const execute = promisify(execFile);
const PACKAGES = ["protocol", "x509", "quic", "host", "agent"];

test(
  "the packed agent, installed into an empty folder, joins a real control plane",
  { timeout: 180_000 },
  async () => {
    await using cluster = await Cluster.start();
    const folder = await mkdtemp(join(tmpdir(), "rk8s-packed-"));
    try {
      for (const name of PACKAGES) {
        await execute("npm", ["pack", "--pack-destination", folder], { cwd: join(ROOT, "packages", name) });
      }
      const tarballs = (await readdir(folder))
        .filter((file) => file.endsWith(".tgz"))
        .map((file) => `./${file}`);
      await writeFile(
        join(folder, "package.json"),
        '{ "name": "outside", "private": true, "type": "module" }',
      );
      const install = ["install", "--prefer-offline", "--no-audit", "--no-fund", "--omit=peer", ...tarballs];
      await execute("npm", install, { cwd: folder });

      const { token } = await cluster.mintToken();
      await using agent = new Daemon(
        join(folder, "node_modules", "@rk8s", "agent", "bin", "rkl.js"),
        [
          ...["pod", "daemon", "--node-name", "outside", "--data-dir", join(folder, "state"), "--json"],
          ...["--rks-address", cluster.address, "--join-token-file", "-"],
        ],
        { stdin: token },
      );

      expect(await agent.event("registered")).toMatchObject({ node: "outside" });
      expect(await agent.stop()).toBe(0);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
);
