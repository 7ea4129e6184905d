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

describe("the verbs of the vault", () => {
  let cluster: Cluster;
  let token: string;
  let overHttps: Record<string, string>;
  beforeAll(async () => {
    cluster = await Cluster.start();
    const created = assertDone(
      await cluster.rks(["token", "create", "--policy", "root", "-field=token", "--socket", cluster.socket]),
    );
    token = created.stdout.trim();
    overHttps = { VAULT_ADDR: cluster.httpAddress, VAULT_TOKEN: token, VAULT_CACERT: cluster.rootCertPath };
  });
  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  test("ask the socket, or with VAULT_ADDR the network, and say which", async () => {
    const byConfig = assertDone(
      await cluster.rks(["policy", "list", "--config", cluster.configFile], { env: overHttps }),
    );
    const bySocket = assertDone(await cluster.rks(["policy", "list", "--socket", cluster.socket]));
    const byAddress = assertDone(await cluster.rks(["policy", "list"], { env: overHttps }));

    expect(byConfig.stderr).toBe(`asking ${cluster.socket}\n`);
    expect(bySocket.stderr).toBe(`asking ${cluster.socket}\n`);
    expect(byAddress.stderr).toBe(`asking ${cluster.httpAddress}\n`);
    expect(byConfig.stdout).toBe(byAddress.stdout);
    expect(byAddress.stdout).toMatch(/^Keys\n----\n[^]*root\n$/);
  });

  test("go from a mount to a revoked certificate over HTTPS, as with the vault command", async () => {
    const env = overHttps;
    const vault = async (...args: readonly string[]): Promise<string> =>
      assertDone(await cluster.rks(args, { env })).stdout;

    expect(await vault("secrets", "enable", "-path=web", "-max-lease-ttl=8760h", "pki")).toBe(
      "mounted pki at web/\n",
    );
    await vault("write", "web/root/generate/internal", "common_name=web root", "ttl=8760h", "key_type=ec");
    await vault(
      "write",
      "web/roles/web",
      "allowed_domains=example.com",
      "allow_subdomains=true",
      "key_type=ec",
    );
    const names = ["common_name=www.example.com", "ttl=24h"];
    const issued = JSON.parse(await vault("write", "-format=json", "web/issue/web", ...names)) as {
      data: { certificate: string; serial_number: string };
    };
    const { certificate, serial_number: serial } = issued.data;
    expect(await vault("read", "-field=certificate", `web/cert/${serial}`)).toBe(
      `${certificate.trimEnd()}\n`,
    );
    expect(await vault("list", "web/certs")).toContain(serial);
    await vault("write", "web/revoke", `serial_number=${serial}`);
    expect(await vault("read", "-field=revocation_time", `web/cert/${serial}`)).toMatch(/^[1-9]\d+\n$/);
    expect(await vault("read", "web/crl/pem")).toMatch(/^-----BEGIN X509 CRL-----\n/);
    expect(await vault("secrets", "disable", "web")).toBe("unmounted web/\n");
  });

  test("a token goes where it is needed through files and stdin only", async () => {
    const file = join(cluster.folder, "a.token");
    await writeFile(file, `${token}\n`, { mode: 0o600 });
    const { VAULT_TOKEN: _, ...env } = overHttps;

    const byFile = await cluster.rks(["token", "lookup", "--token-file", file, "--json"], { env });
    const byStdin = await cluster.rks(["login", "-", "-field=token"], { env, stdin: token });

    expect(JSON.parse(assertDone(byFile).stdout)).toMatchObject({ data: { policies: ["root"] } });
    expect(assertDone(byStdin).stdout.trim()).toBe(token);
  });

  test.each([
    { name: "no token", change: { VAULT_TOKEN: "" }, status: 77, code: "PERMISSION_DENIED" },
    { name: "a token that is none", change: { VAULT_TOKEN: "hvs.x" }, status: 77, code: "PERMISSION_DENIED" },
    { name: "no root to trust", change: { VAULT_CACERT: "" }, status: 77, code: "SERVER_UNTRUSTED" },
    {
      name: "another name",
      change: { VAULT_TLS_SERVER_NAME: "x" },
      status: 77,
      code: "SERVER_NAME_MISMATCH",
    },
    {
      name: "verification switched off",
      change: { VAULT_SKIP_VERIFY: "1" },
      status: 78,
      code: "CONFIG_INVALID",
    },
    { name: "no TLS", change: { VAULT_ADDR: "http://127.0.0.1:1" }, status: 78, code: "CONFIG_INVALID" },
    { name: "nobody there", change: { VAULT_ADDR: "https://127.0.0.1:9" }, status: 69, code: "UNREACHABLE" },
    { name: "another namespace", change: { VAULT_NAMESPACE: "team" }, status: 65, code: "INPUT_INVALID" },
  ])("over HTTPS with $name: $status", async ({ change, status, code }) => {
    const env = { ...overHttps, ...change };

    const result = await cluster.rks(["secrets", "list", "--json"], { env });

    expect(result.status).toBe(status);
    expect(JSON.parse(result.stdout)).toMatchObject({ error: { code } });
    expect(result.stderr).toMatch(/^rks: .+\nhint: .+/m);
    expect(result.stderr).not.toContain(token);
  });

  test("whoever holds a join token logs in with it once, and it is sent nowhere", async () => {
    const socket = ["--socket", cluster.socket];
    const { token: joinToken } = await cluster.mintToken();
    assertDone(await cluster.rks(["auth", "enable", "join-token", ...socket]));
    const role = ["write", "auth/join-token/role/node", "token_policies=default", "bound_token_roles=node"];
    assertDone(await cluster.rks([...role, ...socket]));
    const argv = ["login", "-method=join-token", "token=-", "-field=policies"];
    const { VAULT_TOKEN: _, ...env } = overHttps;

    const first = await cluster.rks(argv, { env, stdin: joinToken });
    const again = await cluster.rks(argv, { env, stdin: joinToken });

    expect(assertDone(first).stdout).toBe("[default]\n");
    expect(again.status).toBe(77);
  });

  test("a sealed vault is 75 over HTTPS, and opens there", async () => {
    const keys = join(cluster.vaultFolder, "keys.json");
    assertDone(await cluster.rks(["operator", "seal"], { env: overHttps }));

    expect((await cluster.rks(["secrets", "list"], { env: overHttps })).status).toBe(75);
    const opened = await cluster.rks(["operator", "unseal", "-key-file", keys, "-field=sealed"], {
      env: overHttps,
    });
    expect(assertDone(opened).stdout).toBe("false\n");
    assertDone(await cluster.rks(["secrets", "list"], { env: overHttps }));
  });

  test("status, seal and unseal go over HTTPS, with no key on the command line", async () => {
    const { VAULT_TOKEN: _, ...nobody } = overHttps;
    const rks = async (argv: readonly string[], env: Record<string, string> = overHttps, stdin = "") =>
      cluster.rks(argv, { env, stdin });
    const whole = JSON.parse(assertDone(await rks(["status", "--json"])).stdout) as object;
    expect(whole).toMatchObject({ sealed: false, socket: cluster.socket });
    expect((await rks(["status"], nobody)).status).toBe(77);
    expect((await rks(["seal"], nobody)).status).toBe(77);
    assertDone(await rks(["status", "--socket", cluster.socket]));

    const sealed = assertDone(await rks(["seal"]));
    expect([sealed.stdout, sealed.stderr]).toEqual([
      "sealed\n",
      expect.stringContaining(`asking ${cluster.httpAddress}\n`),
    ]);
    const status = assertDone(await rks(["status"], nobody));
    expect(status.stdout).toMatch(/^initialized +true\nsealed +true\nseal +shamir[^\n]*\nversion +\S+\n$/);

    const keys = await readFile(join(cluster.vaultFolder, "keys.json"), "utf8");
    const [share = ""] = (JSON.parse(keys) as { readonly keys: readonly string[] }).keys;
    const onArgv = await rks(["unseal", share], nobody);
    expect(onArgv.status).toBe(64);
    expect(onArgv.stdout + onArgv.stderr).not.toContain(share);
    expect((await rks(["unseal"], nobody)).status).toBe(64);
    expect((await rks(["unseal", "-"], nobody, "AAAA")).status).toBe(65);
    expect(assertDone(await rks(["unseal", "-"], nobody, keys)).stdout).toBe("unsealed\n");
    assertDone(await rks(["secrets", "list"]));
  });

  test("new unseal shares: the answer says that keys.json is no longer true", async () => {
    const socket = ["--socket", cluster.socket];
    assertDone(await cluster.rks(["operator", "rekey", "-init", "-n=3", "-t=2", ...socket]));
    const keys = join(cluster.vaultFolder, "keys.json");

    const done = assertDone(await cluster.rks(["operator", "rekey", "-key-file", keys, ...socket]));

    expect(done.stdout).toMatch(/^(Unseal Key \d: \S+\n){3}\n/);
    expect(done.stderr).toContain(`warning: "${keys}" holds shares that do not open the vault any more`);
  });
});
