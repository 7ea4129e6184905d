import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { assertDone, Cluster } from "./harness/cluster.js";
import { RKL, RKS, runCommand } from "./harness/process.js";

describe("without a control plane", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "rk8s-cli-"));
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  test.each([
    { name: "rks", program: RKS },
    { name: "rkl", program: RKL },
  ])("$name without a command prints its help and exits 64", async ({ name, program }) => {
    const result = await runCommand(program, []);

    expect(result.status).toBe(64);
    expect(result.stdout + result.stderr).toContain(`${name} <command>`);
  });

  test.each([
    { name: "rks --help", program: RKS, args: ["--help"] },
    { name: "rkl --help", program: RKL, args: ["--help"] },
    { name: "rkl pod daemon --help", program: RKL, args: ["pod", "daemon", "--help"] },
  ])("$name exits 0 with the help on stdout", async ({ program, args }) => {
    const result = await runCommand(program, args);

    expect(result.status).toBe(0);
    expect(result.stdout).toContain("Options:");
    expect(result.stderr).toBe("");
  });

  test.each([
    { name: "an unknown command", program: RKS, args: ["strat"] },
    { name: "an unknown flag", program: RKS, args: ["start", "--confg", "x"] },
    { name: "TLS switched off", program: RKL, args: ["get", "nodes", "--enable-tls=false"] },
    { name: "an unknown kind", program: RKL, args: ["get", "secrets"] },
  ])("$name is wrong usage: 64 with a hint", async ({ program, args }) => {
    const result = await runCommand(program, args);

    expect(result.status).toBe(64);
    expect(result.stderr).toMatch(/^rk[sl]: .+\nhint: .+/m);
    expect(result.stdout).toBe("");
  });

  test("a folder that was never initialised is refused with the command to run", async () => {
    const config = join(folder, "fresh.yaml");
    assertDone(await runCommand(RKS, ["config", "init", config]));

    const result = await runCommand(RKS, ["start", "--config", config, "--json"]);

    expect(result.status).toBe(78);
    expect(result.stderr).toContain(`rks gen certs --config ${config}`);
    expect(JSON.parse(result.stdout)).toMatchObject({
      error: { code: "VAULT_NOT_INITIALIZED", retryable: false },
    });
  });

  test("nothing that answers is 69", async () => {
    const config = join(folder, "nobody.yaml");
    assertDone(await runCommand(RKS, ["config", "init", config]));

    const result = await runCommand(RKS, ["node", "list", "--config", config]);

    expect(result.status).toBe(69);
    expect(result.stderr).toContain("hint: ");
  });

  test("wrong config keys are named with the nearest right ones, all at once", async () => {
    const config = join(folder, "wrong.yaml");
    await writeFile(
      config,
      'adr: "127.0.0.1:0"\nheartbeat: { intervall: 1s }\ntls_config: { enable: false }\n',
    );

    const result = await runCommand(RKS, ["gen", "certs", "--config", config]);

    expect(result.status).toBe(78);
    expect(result.stderr).toContain('"addr"');
    expect(result.stderr).toContain('"interval"');
    expect(result.stderr).toContain("tls_config.enable");
  });
});

describe("with a control plane", () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.start();
  });
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  test("gen certs writes what the config asks for, and nothing dangerous", async () => {
    expect((await stat(cluster.rootCertPath)).mode & 0o777).toBe(0o644);
    expect((await stat(join(cluster.vaultFolder, "keys.json"))).mode & 0o777).toBe(0o600);
    expect((await stat(cluster.socket)).mode & 0o777).toBe(0o600);
    await expect(stat(join(cluster.vaultFolder, "root_token.txt"))).rejects.toThrow("ENOENT");
    await expect(stat(join(cluster.vaultFolder, "root.key"))).rejects.toThrow("ENOENT");
  });

  test("gen certs again changes nothing", async () => {
    const before = await readFile(cluster.rootCertPath, "utf8");

    const result = await cluster.rks(["gen", "pems", cluster.configFile]);

    expect(result.status).toBe(0);
    expect(result.stdout + result.stderr).toContain("already initialised");
    expect(await readFile(cluster.rootCertPath, "utf8")).toBe(before);
  });

  test("gen join-token prints the token alone, and the worker's command as a hint", async () => {
    const result = assertDone(await cluster.rks(["gen", "join-token", "--config", cluster.configFile]));

    expect(result.stdout).toMatch(/^rkj1\.[\w-]+\n$/);
    expect(result.stderr).toContain("rkl pod daemon");
    expect(result.stderr).not.toContain(result.stdout.trim());
  });

  test("gen join-token --out writes the token for its owner only, with the root certificate beside it", async () => {
    const out = join(cluster.folder, "to-worker");

    assertDone(await cluster.rks(["gen", "join-token", "--config", cluster.configFile, "--out", out]));

    expect((await stat(join(out, "join.token"))).mode & 0o777).toBe(0o600);
    expect(await readFile(join(out, "root.pem"), "utf8")).toBe(await readFile(cluster.rootCertPath, "utf8"));
  });

  test.each([
    { name: "a time to live over a day", flags: ["--ttl", "25h"] },
    { name: "a time to live that is none", flags: ["--ttl", "soon"] },
    { name: "no uses", flags: ["--uses", "0"] },
    { name: "a network that is none", flags: ["--cidr", "10.0.0.0/33"] },
    { name: "a reserved node name", flags: ["--node", "rks-1"] },
  ])("gen join-token with $name is refused with a hint", async ({ flags }) => {
    const result = await cluster.rks(["gen", "join-token", "--config", cluster.configFile, ...flags]);

    expect([64, 65]).toContain(result.status);
    expect(result.stderr).toContain("hint: ");
    expect(result.stdout).toBe("");
  });

  test("status tells people and programs the same", async () => {
    const text = assertDone(await cluster.rks(["status", "--socket", cluster.socket]));
    const json = assertDone(await cluster.rks(["status", "--socket", cluster.socket, "--json"]));

    expect(JSON.parse(json.stdout)).toMatchObject({ initialized: true, sealed: false });
    expect(text.stdout).toContain("sealed");
  });

  test("an operator's token is not the token of a node", async () => {
    const { token } = await cluster.mintToken();

    const result = await cluster.rkl(
      ["get", "nodes", "--rks-address", cluster.address, "--join-token-file", "-"],
      {
        stdin: token,
      },
    );

    expect(result.status).toBe(77);
  });

  test("asking an address where nothing listens is 69 after at most ten seconds", async () => {
    const { token } = await cluster.mintToken(["--role", "operator"]);

    const result = await cluster.rkl(
      ["get", "nodes", "--rks-address", "127.0.0.1:9", "--join-token-file", "-", "-o", "json"],
      {
        stdin: token,
      },
    );

    expect(result.status).toBe(69);
  });
});
