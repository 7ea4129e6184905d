import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { aVaultServer, type VaultServer } from "../testing/a-vault-server.js";
import { type RunInput, runRks, type Transcript } from "../testing/run-rks.js";

let folder: string;
let server: VaultServer;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "rks-values-"));
  server = await aVaultServer(folder);
  await server.vault.write(server.rootToken, "sys/mounts/plain", { type: "kv" });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

async function rks(argv: readonly string[], input: RunInput = {}): Promise<Transcript> {
  return runRks(folder, [...argv, "--socket", "rks.sock"], input);
}

/** What a secret holds, past the command line. */
async function stored(path: string): Promise<unknown> {
  return (await server.vault.read(server.rootToken, path))?.data;
}

describe("writing", () => {
  test.each<{ readonly name: string; readonly words: readonly string[]; readonly holds: object }>([
    { name: "a text", words: ["a=1"], holds: { a: "1" } },
    { name: "a text with signs", words: ["a=b=c d"], holds: { a: "b=c d" } },
    { name: "nothing", words: ["a="], holds: { a: "" } },
    { name: "a file, as it is", words: ["a=@text.txt"], holds: { a: "from a file\n" } },
    { name: "stdin", words: ["a=-"], holds: { a: "from stdin\n" } },
    { name: "a text that begins like a file", words: [String.raw`a=\@text.txt`], holds: { a: "@text.txt" } },
    { name: "a name twice", words: ["a=1", "a=2", "a=3"], holds: { a: ["1", "2", "3"] } },
    { name: "a document of a file", words: ["@data.json", "b=2"], holds: { a: { deep: 1 }, b: "2" } },
    {
      name: "a name that objects have",
      words: ["__proto__x=1", "constructor=2"],
      holds: { __proto__x: "1", constructor: "2" },
    },
  ])("takes $name", async ({ words, holds }) => {
    await writeFile(join(folder, "text.txt"), "from a file\n");
    await writeFile(join(folder, "data.json"), '{"a":{"deep":1}}');
    const { exit, stdout } = await rks(["write", "plain/w", ...words], { stdin: "from stdin\n" });
    expect([exit, stdout]).toEqual([0, "written to plain/w\n"]);
    expect(await stored("plain/w")).toEqual(holds);
  });

  test("takes a document from stdin", async () => {
    expect((await rks(["write", "plain/s", "-"], { stdin: '{"n":1,"t":true}' })).exit).toBe(0);
    expect(await stored("plain/s")).toEqual({ n: 1, t: true });
  });

  test.each([
    { name: "no field", words: [], exit: 64, message: "nothing is given to write" },
    { name: "a word that is no field", words: ["a"], exit: 64, message: '"a" is not name=value' },
    { name: "a value without a name", words: ["=a"], exit: 64, message: "is not name=value" },
    { name: "a file that is not there", words: ["a=@none"], exit: 65, message: 'cannot read "none"' },
    { name: "no file", words: ["a=@"], exit: 64, message: "no file is named" },
    { name: "stdin twice", words: ["a=-", "b=-"], exit: 64, message: "stdin is asked for twice" },
    { name: "a document that is none", words: ["-"], exit: 65, message: "stdin is not one JSON object" },
    { name: "a list for a document", words: ["@list.json"], exit: 65, message: "is not one JSON object" },
  ])("refuses $name before anything is asked", async ({ words, exit, message }) => {
    await writeFile(join(folder, "list.json"), "[1]");
    const told = await rks(["write", "plain/refused", ...words], { stdin: "secret-text" });
    expect([told.exit, told.stdout]).toEqual([exit, ""]);
    expect(told.stderr).toContain(message);
    expect(told.stderr).not.toContain("secret-text");
    expect(await stored("plain/refused")).toBeUndefined();
  });

  test("says that others can see a secret in the command line, and not what it was", async () => {
    const shown = await rks(["write", "plain/h", "password=hunter2", "key_type=ec"]);
    expect(shown.stderr).toContain("password=@FILE");
    expect(shown.stderr).not.toMatch(/hunter2|key_type/);
    expect((await rks(["write", "plain/h", "user=u", "bind_secret_id=true"])).stderr).not.toContain("hint");
  });
});

describe("reading", () => {
  beforeAll(async () => {
    await server.vault.write(server.rootToken, "plain/r/one", { b: "two", a: ["x", 1], c: { d: null } });
  });

  test("prints what people know: a key and its value a line, in the order of the alphabet", async () => {
    expect(await rks(["read", "/plain/r/one"])).toEqual({
      exit: 0,
      stdout: 'Key   Value\n---   -----\na     [x 1]\nb     two\nc     {"d":null}\n',
      stderr: `asking ${server.socket}\n`,
    });
  });

  test("--json is the envelope of the API, one document", async () => {
    for (const flag of [["--json"], ["-format=json"], ["--format", "json"]]) {
      const { stdout } = await rks(["read", "plain/r/one", ...flag]);
      expect(JSON.parse(stdout)).toMatchObject({
        request_id: expect.stringMatching(/^[\da-f-]{36}$/),
        data: { a: ["x", 1], b: "two", c: { d: null } },
        auth: null,
        wrap_info: null,
        warnings: null,
      });
      expect(stdout.trimEnd()).not.toContain("\n");
    }
    expect((await rks(["read", "plain/r/one"], { env: { VAULT_FORMAT: "yaml" } })).stdout).toContain(
      "\n  b: two\n",
    );
  });

  test.each([
    { flags: ["-field=b"], stdout: "two\n" },
    { flags: ["--field", "b"], stdout: "two\n" },
    { flags: ["-field", "b", "--json"], stdout: '"two"\n' },
    { flags: ["-field", "a"], stdout: "[x 1]\n" },
  ])("$flags prints one field alone", async ({ flags, stdout }) => {
    expect((await rks(["read", "plain/r/one", ...flags])).stdout).toBe(stdout);
  });

  test("a field that is not there is named, with those that are", async () => {
    const { exit, stderr } = await rks(["read", "plain/r/one", "-field=z"]);
    expect(exit).toBe(65);
    expect(stderr).toContain('has no field "z"\nhint: It has a, b, c.');
  });

  test("list prints the keys", async () => {
    expect((await rks(["list", "plain/r"])).stdout).toBe("Keys\n----\none\n");
  });

  test.each([
    { argv: ["read", "plain/none"], message: 'there is nothing at "plain/none"' },
    { argv: ["list", "plain/none"], message: 'there is nothing at "plain/none"' },
    { argv: ["read", "nowhere/x"], message: 'nothing serves "nowhere/x"' },
  ])("$argv: nothing there is 65, for programs as well", async ({ argv, message }) => {
    const { exit, stdout, stderr } = await rks([...argv, "--json"]);
    expect(exit).toBe(65);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: "NOT_FOUND", retryable: false } });
    expect(stderr).toContain(message);
  });

  test("delete says so, and again", async () => {
    await server.vault.write(server.rootToken, "plain/d", { a: "1" });
    expect((await rks(["delete", "plain/d"])).stdout).toBe("deleted plain/d\n");
    expect(JSON.parse((await rks(["delete", "plain/d", "--json"])).stdout)).toEqual({});
    expect(await stored("plain/d")).toBeUndefined();
  });

  test("what a secret holds cannot drive the terminal", async () => {
    await server.vault.write(server.rootToken, "plain/evil", { a: "\u001b[2J" });
    expect((await rks(["read", "plain/evil"])).stdout).not.toContain("\u001b");
  });
});

describe("documents that are not JSON", () => {
  beforeAll(async () => {
    await server.vault.write(server.rootToken, "sys/mounts/pki", { type: "pki" });
    await server.vault.write(server.rootToken, "pki/root/generate/internal", {
      common_name: "r",
      key_type: "ec",
    });
  });

  test("text is printed as it is, bytes in base64", async () => {
    expect((await rks(["read", "pki/ca/pem"])).stdout).toMatch(
      /^-----BEGIN CERTIFICATE-----\n[^]+-----END CERTIFICATE-----\n$/,
    );
    const der = await rks(["read", "pki/ca"]);
    expect(Buffer.from(der.stdout, "base64")[0]).toBe(0x30);
    expect(der.stderr).toContain("printed in base64");
    expect(JSON.parse((await rks(["read", "pki/ca", "--json"])).stdout)).toEqual({
      contentType: "application/pkix-cert",
      base64: der.stdout.trim(),
    });
  });

  test("warnings go to stderr", async () => {
    const argv = [
      "write",
      "-field=serial_number",
      "pki/root/generate/internal",
      "common_name=r2",
      "ttl=99999h",
    ];
    const { exit, stdout, stderr } = await rks(argv);
    expect([exit, stdout]).toEqual([0, expect.stringMatching(/^[\da-f:]+\n$/)]);
    expect(stderr).toContain("warning: TTL of");
  });
});

describe("wrapping", () => {
  test("a wrapped answer is fetched once, with its token on stdin", async () => {
    await server.vault.write(server.rootToken, "plain/kept", { a: "1" });
    const { stdout } = await rks(["read", "plain/kept", "-wrap-ttl=60s", "-field=wrapping_token"]);
    expect((await rks(["unwrap", "-field=a", "-"], { stdin: stdout })).stdout).toBe("1\n");
    const again = await rks(["unwrap", "-"], { stdin: stdout });
    expect(again.exit).toBe(65);
    expect(again.stderr).not.toContain(stdout.trim());
  });

  test("the wrapping token can be the token of the request", async () => {
    const { stdout } = await rks(["read", "plain/kept"], {
      env: { VAULT_WRAP_TTL: "5m", VAULT_FORMAT: "json" },
    });
    const { token } = (JSON.parse(stdout) as { wrap_info: { token: string } }).wrap_info;
    await writeFile(join(folder, "wrapping"), `${token}\n`);
    expect((await rks(["unwrap", "-token-file", "wrapping", "-field=a"])).stdout).toBe("1\n");
  });
});

test("where no rks answers, the command that starts it is named", async () => {
  await writeFile(join(folder, "c.yaml"), "tls_config: { vault_folder: ./none }\n");
  const { exit, stderr } = await runRks(folder, ["read", "sys/health", "--config", "c.yaml"]);
  expect(exit).toBe(69);
  expect(stderr).toContain("rks start --config c.yaml");
});
