import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { aVaultServer, type VaultServer } from "../testing/a-vault-server.js";
import { type RunInput, runRks, type Transcript } from "../testing/run-rks.js";

let folder: string;
let server: VaultServer;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-verbs-"));
  server = await aVaultServer(folder);
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

async function rks(argv: readonly string[], input: RunInput = {}): Promise<Transcript> {
  return runRks(folder, [...argv, "--socket", "rks.sock"], input);
}

/** What a command prints on stdout, which must succeed. */
async function said(...argv: readonly string[]): Promise<string> {
  const { exit, stdout, stderr } = await rks(argv);
  expect([exit, stderr]).toEqual([0, expect.any(String)]);
  return stdout;
}

async function document(...argv: readonly string[]): Promise<Record<string, unknown>> {
  return JSON.parse(await said(...argv, "--json")) as Record<string, unknown>;
}

describe("policy", () => {
  const TEXT = 'path "a" { capabilities = ["read"] }\n';

  test("is written from a file or stdin, read, listed and deleted", async () => {
    await writeFile(join(folder, "p.hcl"), TEXT);
    expect(await said("policy", "write", "p", "p.hcl")).toBe("wrote policy p\n");
    expect((await rks(["policy", "write", "q", "-"], { stdin: TEXT })).exit).toBe(0);
    expect(await said("policy", "read", "p")).toBe(TEXT);
    expect(await document("policy", "read", "q")).toMatchObject({ data: { name: "q", policy: TEXT } });
    expect(await said("policy", "list")).toBe("Keys\n----\ndefault\np\nq\nroot\n");
    expect(await said("policy", "delete", "p")).toBe("deleted policy p\n");
    expect((await rks(["policy", "read", "p"])).exit).toBe(65);
  });

  test("is refused with its line", async () => {
    const { exit, stderr } = await rks(["policy", "write", "p", "-"], { stdin: 'path "a" {\n  x = 1\n}' });
    expect(exit).toBe(65);
    expect(stderr).toContain("line 2");
  });
});

describe("token", () => {
  const create = async (...flags: readonly string[]): Promise<string> =>
    (await said("token", "create", "--field", "token", ...flags)).trim();

  test("is made as the flags say", async () => {
    const flags = [
      ...["-policy", "a,b", "-policy=c", "-ttl=1h", "-num-uses=3", "-explicit-max-ttl", "2h", "-orphan"],
      ...["-display-name", "ci", "-metadata", "team=x", "-no-default-policy", "-renewable=false"],
    ];
    const { auth } = (await document("token", "create", ...flags)) as { auth: { client_token: string } };
    expect(auth).toMatchObject({
      policies: ["a", "b", "c"],
      lease_duration: 3600,
      num_uses: 3,
      orphan: true,
      renewable: false,
      metadata: { team: "x" },
    });
    const found = await rks(["token", "lookup", "-", "--json"], { stdin: `${auth.client_token}\n` });
    expect(JSON.parse(found.stdout)).toMatchObject({
      data: { display_name: "token-ci", explicit_max_ttl: 7200, num_uses: 3 },
    });
  });

  test("of a role, of a batch, with a period, with an id", async () => {
    await said("write", "auth/token/roles/r", "allowed_policies=a");
    expect((await document("token", "create", "-role=r", "-policy=a"))["auth"]).toMatchObject({
      token_policies: ["a", "default"],
    });
    expect((await document("token", "create", "-type=batch", "-policy=a"))["auth"]).toMatchObject({
      token_type: "batch",
    });
    expect((await document("token", "create", "-period=1h", "-policy=a"))["auth"]).toMatchObject({
      lease_duration: 3600,
    });
    expect(await create("-id=chosen", "-policy=a")).toBe("chosen");
  });

  test("without a policy is not made with the rights of the socket", async () => {
    const { exit, stderr } = await rks(["token", "create", "--ttl", "1h"]);
    expect(exit).toBe(64);
    expect(stderr).toContain("--policy NAME");
  });

  test("is printed as people know it", async () => {
    const printed = await said("token", "create", "-policy=a", "-ttl=90m");
    expect(printed).toMatch(
      /^Key +Value\n--- +-----\ntoken +hvs\.\S+\ntoken_accessor +\S+\ntoken_duration +1h30m\ntoken_renewable +true\ntoken_policies +\[a default\]\n/,
    );
  });

  test("is looked up, renewed and revoked by its text or its accessor", async () => {
    const token = await create("-policy=a", "-ttl=1h");
    const accessor = (await rks(["token", "lookup", "-field=accessor", "-"], { stdin: token })).stdout.trim();
    expect(await document("token", "lookup", "-accessor", accessor)).toMatchObject({
      data: { id: "", accessor },
    });
    expect(await document("token", "renew", "-accessor", accessor, "-i", "2h")).toMatchObject({
      auth: { lease_duration: 7200 },
    });
    expect(await said("token", "revoke", "-accessor", accessor)).toBe("revoked\n");
    const { exit, stderr } = await rks(["token", "lookup", token]);
    expect(exit).toBe(77);
    expect(stderr).toContain("- (stdin)");
    expect(stderr).not.toContain(token);
  });

  test("of the request is looked up and ended on request only", async () => {
    await writeFile(join(folder, "t"), await create("-policy=a"));
    expect(await said("token", "lookup", "-token-file=t", "-field=policies")).toBe("[a default]\n");
    expect((await rks(["token", "revoke", "-token-file=t"])).exit).toBe(64);
    expect(await said("token", "revoke", "-self", "-token-file=t")).toBe("revoked\n");
    expect((await rks(["token", "lookup", "-token-file=t"])).exit).toBe(77);
  });

  test("can leave its children alive, and a path takes all with it", async () => {
    const parent = await create("-policy=root");
    await writeFile(join(folder, "parent"), parent);
    const child = await create("-policy=a", "-token-file=parent");
    expect((await rks(["token", "revoke", "-mode=orphan", "-"], { stdin: parent })).exit).toBe(0);
    expect((await rks(["token", "lookup", "-"], { stdin: child })).exit).toBe(0);
    expect(await said("token", "revoke", "-mode=path", "auth/token/create")).toBe("revoked\n");
    expect((await rks(["token", "lookup", "-"], { stdin: child })).exit).toBe(77);
  });

  test.each([
    { argv: ["revoke"], message: "one token must be named" },
    { argv: ["revoke", "t", "-self"], message: "one token must be named" },
    { argv: ["revoke", "-mode=path", "-self"], message: "--mode path needs a path" },
    { argv: ["lookup", "t", "-accessor=a"], message: "both a token and an accessor" },
    { argv: ["create", "-type=huge"], message: "invalid values" },
    { argv: ["create", "-policy=a", "-metadata=x"], message: "is not name=value" },
  ])("$argv is wrong usage", async ({ argv, message }) => {
    const { exit, stderr } = await rks(["token", ...argv]);
    expect(exit).toBe(64);
    expect(stderr.toLowerCase()).toContain(message.toLowerCase());
  });
});

describe("secrets and auth", () => {
  test("are mounted, tuned, moved, listed and unmounted", async () => {
    const flags = ["-path=team/kv", "-version=2", "-description=d", "-max-lease-ttl=2h"];
    expect(await said("secrets", "enable", ...flags, "kv")).toBe("mounted kv at team/kv/\n");
    expect(await said("secrets", "tune", "-default-lease-ttl=1h", "team/kv/")).toBe("tuned team/kv/\n");
    expect(await said("secrets", "tune", "team/kv", "-field=default_lease_ttl")).toBe("3600\n");
    expect(await said("secrets", "move", "team/kv", "kv2")).toBe("moved team/kv/ to kv2/\n");
    expect(await said("secrets", "list")).toMatch(
      /^Path +Type +Accessor +Description\n[^]*\nkv2\/ +kv +kv_\w+ +d\n/,
    );
    expect(await said("secrets", "list", "-detailed")).toMatch(
      /\nkv2\/ +kv +kv_\w+ +d +1h +2h +\{"version":"2"\}/,
    );
    expect(await document("secrets", "list")).toMatchObject({ data: { "kv2/": { type: "kv" } } });
    expect(await said("secrets", "disable", "kv2")).toBe("unmounted kv2/\n");
    expect(await said("secrets", "list")).not.toContain("kv2/");
  });

  test("login methods are below auth/", async () => {
    expect(await said("auth", "enable", "approle")).toBe("mounted approle at auth/approle/\n");
    expect(await said("auth", "tune", "-max-lease-ttl=1h", "approle")).toBe("tuned auth/approle/\n");
    expect(await said("auth", "move", "approle", "robots")).toBe("moved auth/approle/ to auth/robots/\n");
    expect(await said("auth", "list")).toMatch(/\nrobots\/ +approle /);
    expect(await said("auth", "disable", "robots")).toBe("unmounted auth/robots/\n");
  });

  test("what cannot be mounted is refused with a hint", async () => {
    const { exit, stderr } = await rks(["secrets", "enable", "pkl"]);
    expect(exit).toBe(65);
    expect(stderr).toContain("hint: ");
  });
});

describe("login", () => {
  test("with a role and its secret, which is in a file", async () => {
    await said("auth", "enable", "approle");
    await said("write", "auth/approle/role/ci", "token_policies=deploy", "role_id=ci");
    await writeFile(
      join(folder, "secret"),
      (await said("write", "-f", "-field=secret_id", "auth/approle/role/ci/secret-id")).trim(),
    );
    const { exit, stdout, stderr } = await rks([
      "login",
      "-method=approle",
      "role_id=ci",
      "secret_id=@secret",
    ]);
    expect(exit).toBe(0);
    expect(stdout).toMatch(/^token +hvs\.\S+$/m);
    expect(stderr).toContain("nothing is stored");
    expect((await rks(["login", "-method=approle", "role_id=ci", "secret_id=wrong"])).exit).not.toBe(0);
  });

  test("with a token says what it is good for", async () => {
    const token = (await said("token", "create", "-policy=a", "-field=token")).trim();
    const { stdout } = await rks(["login", "-"], { stdin: `${token}\n` });
    expect(stdout).toContain(token);
    expect(stdout).toMatch(/^policies +\[a default\]$/m);
    const env = await rks(["login", "token=-", "--json"], { stdin: token });
    expect(JSON.parse(env.stdout)).toMatchObject({
      auth: { client_token: token, policies: ["a", "default"] },
      data: null,
    });
    expect((await rks(["login", "-"], { stdin: "hvs.none" })).exit).toBe(77);
  });
});

describe("audit", () => {
  test("devices are enabled, listed and disabled", async () => {
    expect(await said("audit", "list")).toBe("there are no audit devices\n");
    const file = join(folder, "audit.log");
    expect(await said("audit", "enable", "-path=a", "-description=d", "file", `file_path=${file}`)).toBe(
      "enabled audit device a/\n",
    );
    expect(await said("audit", "list", "-detailed")).toMatch(
      /\na\/ +file +d +\{"file_path":".*audit\.log"\}\n$/,
    );
    expect(await document("audit", "list")).toMatchObject({ data: { "a/": { type: "file" } } });
    expect(await said("audit", "disable", "a")).toBe("disabled audit device a/\n");
    expect((await rks(["audit", "enable", "file", "file_path"])).exit).toBe(64);
  });

  test("of a device is verified with the vault's word on its last line, and tells what was changed", async () => {
    const file = join(folder, "audit.log");
    await said("audit", "enable", "file", `file_path=${file}`);
    await said("secrets", "list");
    expect(await said("audit", "verify", "--device", "file")).toMatch(
      /^ok: unbroken up to record \d+ [0-9a-f]{64}\n$/,
    );
    const lines = (await readFile(file, "utf8")).split("\n");
    await writeFile(file, lines.toSpliced(3, 1).join("\n"));
    const broken = await rks(["audit", "verify", "--device", "/file/", "--json"]);
    expect(broken.exit).toBe(65);
    expect(JSON.parse(broken.stdout)).toMatchObject({
      isGood: false,
      problems: [{ file, line: 4, kind: "missing" }],
    });
    expect((await rks(["audit", "verify", "--device", "none"])).exit).toBe(65);
    const unsure = await runRks(folder, [
      "audit",
      "verify",
      "--device",
      "file",
      file,
      "--socket",
      "none.sock",
    ]);
    expect([unsure.exit, unsure.stderr]).toEqual([65, expect.stringContaining("without rks nobody says")]);
    expect(
      (await runRks(folder, ["audit", "verify", "--device", "file", "--socket", "none.sock"])).exit,
    ).toBe(69);
  });
});

describe("kv", () => {
  test("with versions", async () => {
    await said("secrets", "enable", "-path=secret", "kv-v2");
    expect(await said("kv", "put", "secret/app/db", "user=u", "password=p1", "-field=version")).toBe("1\n");
    expect(await said("kv", "patch", "-mount=secret", "app/db", "password=p2", "-field=version")).toBe("2\n");
    expect(await said("kv", "get", "-field=password", "secret/app/db")).toBe("p2\n");
    expect(await said("kv", "get", "-version=1", "-field=password", "secret/app/db")).toBe("p1\n");
    expect(await said("kv", "get", "secret/app/db")).toMatch(
      /version +2\n\nKey +Value\n--- +-----\npassword +p2\nuser +u\n$/,
    );
    expect(await document("kv", "get", "secret/app/db")).toMatchObject({ data: { data: { user: "u" } } });
    expect(await said("kv", "list", "secret")).toBe("Keys\n----\napp/\n");
    expect(await said("kv", "delete", "secret/app/db", "-versions=2")).toBe(
      "delete: version 2 of secret/app/db\n",
    );
    expect((await rks(["kv", "get", "-field=user", "secret/app/db"])).exit).toBe(65);
    expect(await said("kv", "undelete", "-versions=2", "secret/app/db")).toContain("version 2");
    expect(await said("kv", "destroy", "-versions=1", "secret/app/db")).toContain("version 1");
    expect(
      await said("kv", "metadata", "put", "-max-versions=5", "-custom-metadata=owner=x", "secret/app/db"),
    ).toBe("secret/app/db: changed\n");
    expect(await document("kv", "metadata", "get", "secret/app/db")).toMatchObject({
      data: { max_versions: 5, custom_metadata: { owner: "x" }, versions: { "1": { destroyed: true } } },
    });
    expect((await rks(["kv", "put", "-cas=1", "secret/app/db", "a=1"])).exit).toBe(65);
    expect(await said("kv", "metadata", "delete", "secret/app/db")).toContain("deleted");
    expect((await rks(["kv", "get", "secret/app/db"])).exit).toBe(65);
  });

  test("without versions", async () => {
    await said("secrets", "enable", "-path=plain", "kv");
    expect(await said("kv", "put", "plain/a", "x=1")).toBe("wrote plain/a\n");
    expect(await said("kv", "get", "-field=x", "plain/a")).toBe("1\n");
    expect(await said("kv", "list", "plain")).toContain("a\n");
    expect((await rks(["kv", "patch", "plain/a", "x=2"])).exit).toBe(65);
    expect(await said("kv", "delete", "plain/a")).toBe("deleted plain/a\n");
  });

  test("where there is no kv engine the way to one is named", async () => {
    const { exit, stderr } = await rks(["kv", "get", "sys/mounts"]);
    expect(exit).toBe(65);
    expect(stderr).toContain("hint: ");
    expect((await rks(["kv", "get", "nowhere/a"])).exit).not.toBe(0);
  });
});

describe("lease", () => {
  beforeEach(async () => {
    await said("secrets", "enable", "pki");
    await said("write", "pki/root/generate/internal", "common_name=r", "key_type=ec");
    await said(
      "write",
      "pki/roles/r",
      "allow_any_name=true",
      "key_type=ec",
      "generate_lease=true",
      "max_ttl=1h",
    );
  });
  const issue = async (): Promise<string> =>
    (await said("write", "-field=lease_id", "pki/issue/r", "common_name=a.b", "ttl=10m")).trim();

  test("is looked up and revoked, one and all below a path", async () => {
    const [one] = [await issue(), await issue()];
    expect(await document("lease", "lookup", one)).toMatchObject({ data: { id: one } });
    expect(await said("lease", "revoke", one)).toBe("revoked\n");
    expect((await rks(["lease", "lookup", one])).exit).toBe(65);
    expect(await said("lease", "revoke", "-prefix", "-sync", "pki/issue")).toBe(
      "revoked what was made below pki/issue\n",
    );
    expect((await rks(["list", "sys/leases/lookup/pki/issue/r"])).exit).toBe(65);
  });

  test("cannot be forced one by one, and one that is gone is not renewed", async () => {
    expect((await rks(["lease", "revoke", "-f", await issue()])).exit).toBe(64);
    expect((await rks(["lease", "renew", "pki/issue/r/none"])).exit).toBe(65);
  });
});

describe("operator", () => {
  test("init points to the command that does it", async () => {
    const { exit, stderr } = await rks(["operator", "init"]);
    expect(exit).toBe(64);
    expect(stderr).toContain("rks gen certs");
  });

  test("seal closes, shares open", async () => {
    expect(await said("operator", "seal")).toBe("sealed\n");
    expect((await rks(["policy", "list"])).exit).toBe(75);
    const half = await rks(["operator", "unseal", "-", "--json"], { stdin: server.shares[0] ?? "" });
    expect(JSON.parse(half.stdout)).toMatchObject({ sealed: true, progress: 1 });
    expect(half.stderr).toContain("next share");
    expect(await said("operator", "unseal", "-reset", "-field=progress")).toBe("0\n");
    const env = { RKS_UNSEAL_KEY: server.shares.join(" ") };
    expect((await rks(["operator", "unseal", "-field=sealed"], { env })).stdout).toBe("false\n");
    expect((await rks(["operator", "unseal"])).exit).toBe(64);
  });

  test("rotate adds a key, key-status tells", async () => {
    expect(await said("operator", "key-status", "-field=term")).toBe("1\n");
    expect(await said("operator", "rotate", "-field=term")).toBe("2\n");
  });

  test("rekey replaces the shares once they are given back, and says what became of them", async () => {
    const begun = await rks(["operator", "rekey", "-init", "-n", "2", "-t", "2", "-verify"]);
    expect(begun.stderr).toContain("give a share");
    expect((await rks(["operator", "rekey", "-"], { stdin: server.shares[0] ?? "" })).stdout).toMatch(
      /^progress +1$/m,
    );
    const done = await rks(["operator", "rekey", "-"], { stdin: server.shares[1] ?? "" });
    expect(done.stdout).toMatch(/^Unseal Key 1: \S+\nUnseal Key 2: \S+\n\n/);
    expect(done.stderr).toContain("nothing has changed yet");
    const fresh = [...done.stdout.matchAll(/^Unseal Key \d: (\S+)$/gm)].map(([, key]) => key).join("\n");
    await writeFile(join(folder, "keys"), fresh);
    expect((await rks(["operator", "rekey", "-verify", "-key-file=keys"])).stderr).toContain("in force");
    await said("operator", "seal");
    expect(await said("operator", "unseal", "-key-file=keys", "-field=sealed")).toBe("false\n");
  });

  test("rekey is cancelled, told of, and not begun by a share", async () => {
    expect((await rks(["operator", "rekey", "-"], { stdin: server.shares[0] ?? "" })).exit).toBe(65);
    await said("operator", "rekey", "-init", "-n=1", "-t=1");
    expect(await said("operator", "rekey", "-status", "-field=started")).toBe("true\n");
    expect(await said("operator", "rekey", "-cancel")).toContain("cancelled");
    expect(await said("operator", "rekey", "-status", "-field=started")).toBe("false\n");
    expect((await rks(["operator", "rekey", "-init", "-cancel"])).exit).toBe(64);
  });

  test("generate-root makes a root token that only its one-time password unmasks", async () => {
    const otp = (await said("operator", "generate-root", "-init", "-field=otp")).trim();
    await writeFile(join(folder, "keys"), server.shares.join("\n"));
    const encoded = (
      await said("operator", "generate-root", "-key-file=keys", "-field=encoded_token")
    ).trim();
    const argv = ["operator", "generate-root", "-decode", encoded, "-otp=-"];
    const { stdout } = await rks(argv, { stdin: otp });
    await writeFile(join(folder, "root"), stdout);
    expect(await said("token", "lookup", "-token-file=root", "-field=policies")).toBe("[root]\n");
    expect((await said("operator", "generate-root", "-generate-otp")).trim()).toHaveLength(otp.length);
    expect((await rks(["operator", "generate-root", "-decode", encoded])).exit).toBe(64);
  });
});
