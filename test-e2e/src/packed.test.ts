import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { assertDone, Cluster } from "./harness/cluster.js";
import { Daemon, ROOT, runCommand } from "./harness/process.js";

const execute = promisify(execFile);

/** A project outside the repository with our packages as npm would install them, and their dependencies alone. */
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "rk8s-packed-"));
  for (const name of await readdir(join(ROOT, "packages"))) {
    await execute("npm", ["pack", "--pack-destination", folder], { cwd: join(ROOT, "packages", name) });
  }
  const tarballs = (await readdir(folder)).filter((file) => file.endsWith(".tgz")).map((file) => `./${file}`);
  await writeFile(join(folder, "package.json"), '{ "name": "outside", "private": true, "type": "module" }');
  // Fastify's test injector, which is never loaded, brings a cookie parser for newer Nodes: users of npm get a warning.
  const flags = ["--engine-strict=false", "--prefer-offline", "--no-audit", "--no-fund", "--omit=peer"];
  const install = ["install", ...flags, ...tarballs];
  await execute("npm", install, { cwd: folder });
}, 180_000);
afterAll(async () => {
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

function program(name: string, file: string): string {
  return join(folder, "node_modules", "@rk8s", name, "bin", file);
}

/** The example of a packed README, as a program of the project; what stands in it is what a reader copies. */
async function example(name: string): Promise<string> {
  const page = await readFile(join(folder, "node_modules", "@rk8s", name, "README.md"), "utf8");
  const [, block] = /^```js\n(.*?)^```$/ms.exec(page) ?? [];
  if (block === undefined) throw new Error(`the README of @rk8s/${name} has no example`);
  const file = join(folder, `readme-of-${name}.js`);
  await writeFile(file, block);
  return file;
}

/** How the example ends, and what it says. */
async function runExample(name: string, args: readonly string[] = []): Promise<string> {
  const { status, stdout, stderr } = await runCommand(await example(name), args);
  return `${status} ${stdout}${stderr}`;
}

test("each package has a README, and its example does what it says", async () => {
  await using cluster = await Cluster.start();
  const [host = "", port = ""] = cluster.address.split(":");
  const files = { url: join(folder, "database.url"), token: join(folder, "join.token") };
  await writeFile(files.url, "postgres://rks:secret@127.0.0.1:1/rks", { mode: 0o600 });
  await writeFile(files.token, (await cluster.mintToken()).token, { mode: 0o600 });

  const said = {
    "control-plane": runExample("control-plane"),
    host: runExample("host"),
    protocol: runExample("protocol"),
    quic: runExample("quic", [host, port, cluster.rootCertPath]),
    storage: runExample("storage"),
    "storage-sql": runExample("storage-sql", [files.url]),
    x509: runExample("x509", [cluster.rootCertPath]),
  };
  expect(await readdir(join(ROOT, "packages"))).toEqual(["agent", ...Object.keys(said)].toSorted());
  expect(await said["control-plane"]).toMatch(/^0 -----BEGIN CERTIFICATE-----\n/);
  expect(await said.host).toMatch(/^0 \S+ info +Certificate issued node=worker-1 ttlSeconds=3600\n$/);
  expect(await said.protocol).toBe("0 { type: 'ListPods', namespace: 'default' }\n");
  expect(await said.quic).toBe("0 connected; the server showed 2 certificates\n");
  expect(await said.storage).toBe("0 true false\n");
  // Nothing listens there: the example has come as far as it can without a database.
  expect(await said["storage-sql"]).toMatch(/^1 [^]*UNREACHABLE/);
  expect(await said["storage-sql"]).not.toContain("secret");
  expect(await said.x509).toMatch(/^0 CN=rk8s cluster root [0-9a-f]+ \d{4}-\S+Z\n$/);

  await using agent = new Daemon(await example("agent"), [cluster.address, files.token, "readme"]);
  expect(await agent.event("registered")).toMatchObject({ node: "readme" });
  expect(await agent.stop()).toBe(0);
});

test("the packed agent joins a real control plane", async () => {
  await using cluster = await Cluster.start();
  const { token } = await cluster.mintToken();
  await using agent = new Daemon(
    program("agent", "rkl.js"),
    [
      ...["pod", "daemon", "--node-name", "outside", "--data-dir", join(folder, "state"), "--json"],
      ...["--rks-address", cluster.address, "--join-token-file", "-"],
    ],
    { stdin: token },
  );

  expect(await agent.event("registered")).toMatchObject({ node: "outside" });
  expect(await agent.stop()).toBe(0);
});

test("the packed control plane issues a certificate over HTTPS", async () => {
  const config = join(folder, "config.yaml");
  await writeFile(
    config,
    'addr: "127.0.0.1:0"\nhttp_addr: "127.0.0.1:0"\ntls_config: { vault_folder: ./rks-data }\n',
  );
  const rks = async (words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> =>
    assertDone(await runCommand(program("control-plane", "rks.js"), words, { cwd: folder, env })).stdout;
  await rks(["gen", "certs", "--config", config]);
  await using daemon = new Daemon(program("control-plane", "rks.js"), [
    "start",
    "--config",
    config,
    "--json",
  ]);
  const { http } = await daemon.line((line) => line["ready"] === true);

  await rks(["secrets", "enable", "--config", config, "pki"]);
  await rks(["write", "--config", config, "pki/root/generate/internal", "common_name=packed", "key_type=ec"]);
  await rks(["write", "--config", config, "pki/roles/any", "allow_any_name=true", "key_type=ec"]);
  const token = await rks(["token", "create", "--config", config, "--policy", "root", "--field", "token"]);
  const env = {
    VAULT_ADDR: String(http),
    VAULT_CACERT: join(folder, "rks-data", "root.pem"),
    VAULT_TOKEN: token.trim(),
  };
  const issue = ["write", "--field", "certificate", "pki/issue/any", "common_name=a.example.com", "ttl=1h"];
  expect(await rks(issue, env)).toMatch(/^-----BEGIN CERTIFICATE-----\n/);
  expect(await daemon.stop()).toBe(0);
});
