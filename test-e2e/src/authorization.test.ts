import { appendFile, mkdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { MESSAGE_SCHEMAS, type MessageType, RksError, type RksMessage } from "@rk8s/protocol";
import { arbitraryMessageOf } from "@rk8s/protocol/testing/arbitraries";
import { OID } from "@rk8s/x509";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { askRks, newToken } from "./harness/ask-rks.js";
import { Cluster } from "./harness/cluster.js";
import { Forger } from "./harness/forger.js";
import { Daemon, RKS } from "./harness/process.js";
import { credentialsOf, join as joinRaw, RawAgent } from "./harness/raw-agent.js";
import { aKey, aRequest } from "./harness/raw-request.js";
import { narrowToken, type VaultApi, vaultApi } from "./harness/vault-api.js";

let cluster: Cluster;
let root: VaultApi;
beforeAll(async () => {
  cluster = await Cluster.start({ tls_config: { vault_folder: "./data", keep_dangerous_files: true } });
  root = await vaultApi(cluster);
  await root.write("sys/policies/acl/look", {
    policy: `path "rk8s/nodes" { capabilities = ["list"] }
path "rk8s/pods/web" { capabilities = ["list"] }
path "rk8s/join-tokens" { capabilities = ["update"] }`,
  });
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

const auditFile = (): string => join(cluster.vaultFolder, "audit.log");

async function records(): Promise<readonly Readonly<Record<string, unknown>>[]> {
  const text = await readFile(auditFile(), "utf8");
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
}

describe("operators", () => {
  test("a narrow policy is all that rkl gets with the token, and both are recorded", async () => {
    const { token, id } = await cluster.mintToken(["--role", "operator", "--policy", "look"]);
    const flags = ["--rks-address", cluster.address, "--root-cert-path", cluster.rootCertPath];
    const rkl = (args: readonly string[]): ReturnType<Cluster["rkl"]> =>
      cluster.rkl([...args, ...flags, "--join-token-file", "-"], { stdin: `${token}\n` });
    expect(await rkl(["get", "nodes"])).toMatchObject({ status: 0 });
    const refused = await rkl(["delete", "pod", "web"]);
    expect(refused.status).toBe(77);
    expect(refused.stderr).toContain('may not read "rk8s/pods/default/web"');
    const actor = `operator ${id}`;
    const [read, denied] = (await records()).filter((line) => line["actor"] === actor);
    expect(read).toMatchObject({
      operation: "operator.list",
      outcome: "done",
      fields: { path: "rk8s/nodes" },
    });
    expect(denied).toMatchObject({
      operation: "operator.read",
      outcome: "refused",
      code: "PERMISSION_DENIED",
    });
  });

  test("a policy that there is not is refused when the token is made", async () => {
    const made = await cluster.rks([
      ...["gen", "join-token", "--config", cluster.configFile],
      ...["--role", "operator", "--policy", "lok"],
    ]);
    expect(made).toMatchObject({ status: 65, stderr: expect.stringContaining('no policy "lok"') as string });
  });

  test("a login of the vault may over HTTPS what its policies say, and hands out no more than it has", async () => {
    const api = root.as(await narrowToken(root, ["look"], "ci"));
    const status = async (of: VaultApi, method: "GET" | "POST" | "DELETE", path: string, body?: object) =>
      (await of.ask({ method, path: `rk8s/${path}`, ...(body === undefined ? {} : { body }) })).status;
    expect(await status(api, "GET", "nodes")).toBe(200);
    expect(await status(api, "GET", "nodes/worker-1")).toBe(403);
    expect(await status(api, "GET", "join-tokens")).toBe(403);
    expect(await status(api, "POST", "join-tokens", { node: "worker-7" })).toBe(200);
    expect(await status(api, "POST", "join-tokens", { role: "operator" })).toBe(403);
    expect(await status(api, "POST", "join-tokens", { role: "operator", policies: ["look"] })).toBe(200);
    expect(await status(root, "POST", "join-tokens", { role: "operator" })).toBe(200);
    for (const nobody of [root.as(""), root.as("hvs.wrong")]) {
      expect(await status(nobody, "GET", "nodes")).toBe(403);
      expect(await status(nobody, "GET", "none")).toBe(403);
    }
    expect((await records()).filter((line) => line["actor"] === "token token-ci").length).toBeGreaterThan(4);
  });
});

describe("an operator away from the host of rks", () => {
  const POLICY = `path "rk8s/nodes" { capabilities = ["list"] }
path "rk8s/nodes/away-1" { capabilities = ["read"] }
path "rk8s/nodes/away-1/ban" { capabilities = ["update"] }
path "rk8s/ca" { capabilities = ["read"] }
path "rk8s/join-tokens" { capabilities = ["update"] }`;
  let folder: string;
  let token: string;
  beforeAll(async () => {
    folder = join(cluster.folder, "away");
    await mkdir(folder);
    await root.write("sys/policies/acl/away", { policy: POLICY });
    token = await narrowToken(root, ["away"], "away");
    const joining = await newToken(cluster);
    await joinRaw(cluster, { token: joining.token, csr: aRequest({ key: aKey() }), nodeName: "away-1" });
  });

  /** `rks …` where there is no config, with nothing but the environment that the verbs of the vault need. */
  function rks(
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
    stdin = "",
  ): ReturnType<Cluster["rks"]> {
    const there = { VAULT_ADDR: cluster.httpAddress, VAULT_CACERT: cluster.rootCertPath, VAULT_TOKEN: token };
    return cluster.rks(args, { cwd: folder, env: { ...there, ...env }, stdin });
  }

  test.concurrent.each([
    { argv: ["node", "list"], exit: 0, says: "away-1" },
    { argv: ["node", "show", "worker-1"], exit: 77, says: 'may not read "rk8s/nodes/worker-1"' },
    { argv: ["node", "ban", "away-1"], exit: 0, says: "banned away-1" },
    { argv: ["node", "evict", "away-1"], exit: 77, says: "may not update" },
    { argv: ["node", "show", "away-1/ban"], exit: 65, says: "cannot be a name" },
    { argv: ["ca", "status"], exit: 0, says: "steady" },
    { argv: ["ca", "prepare"], exit: 77, says: 'may not update "rk8s/ca/prepare"' },
    { argv: ["join-token", "list"], exit: 77, says: 'may not list "rk8s/join-tokens"' },
    { argv: ["join-token", "revoke", "0123456789abcdef"], exit: 77, says: "may not delete" },
    { argv: ["gen", "join-token", "--role", "operator"], exit: 77, says: 'the policy "operator"' },
  ])("$argv is exit $exit by a narrow policy, and says $says", async ({ argv, exit, says }) => {
    const { status, stdout, stderr } = await rks(argv);
    expect([status, stderr]).toEqual([exit, expect.stringContaining(`asking ${cluster.httpAddress}\n`)]);
    expect(stdout + stderr).toContain(says);
    expect(stdout + stderr).not.toContain(token);
  });

  test("makes a join token with the root beside it, by which a node joins", async () => {
    const made = await rks(["gen", "join-token", "--node", "away-2", "--out", "away-2", "--json"]);
    expect(made).toMatchObject({ status: 0 });
    const { rootCertPath } = JSON.parse(made.stdout) as { readonly rootCertPath: string };
    expect(await readFile(rootCertPath, "utf8")).toBe(await readFile(cluster.rootCertPath, "utf8"));
    expect((await stat(join(folder, "away-2", "join.token"))).mode & 0o777).toBe(0o600);
    const joining = (await readFile(join(folder, "away-2", "join.token"), "utf8")).trim();
    const certificate = await joinRaw(cluster, {
      token: joining,
      csr: aRequest({ key: aKey() }),
      nodeName: "away-2",
    });
    expect(certificate.nodeName).toBe("away-2");

    const alone = await rks(["gen", "join-token", "--node", "away-3", "--json"]);
    expect(JSON.parse(alone.stdout)).toMatchObject({ node: "away-3", rootCertPath: null });
  });

  test("is taken for nobody without a token, and asks no server that it cannot verify", async () => {
    const nobody = await rks(["node", "list"], { VAULT_TOKEN: "" });
    expect(nobody).toMatchObject({
      status: 77,
      stderr: expect.stringContaining("no token was sent") as string,
    });
    const wrong = await rks(["node", "list"], { VAULT_TOKEN: "hvs.wrong" });
    expect(wrong).toMatchObject({
      status: 77,
      stderr: expect.stringContaining("is for operators") as string,
    });
    const untrusted = await rks(["node", "list"], { VAULT_CACERT: "" });
    expect(untrusted).toMatchObject({
      status: 77,
      stderr: expect.stringContaining("does not verify") as string,
    });
    const clear = await rks(["node", "list"], { VAULT_ADDR: cluster.httpAddress.replace("https", "http") });
    expect(clear).toMatchObject({ status: 78, stderr: expect.stringContaining("in the clear") as string });
    const file = await rks(["node", "list", "--token-file", "-"], { VAULT_TOKEN: "" }, `${token}\n`);
    expect(file).toMatchObject({ status: 0 });
    const onSocket = await rks(["node", "list", "--token-file", "-", "--socket", cluster.socket], {}, token);
    expect(onSocket).toMatchObject({ status: 64 });
  });

  test("is in the audit log with every action and refusal", async () => {
    const own = (await records()).filter((line) => line["actor"] === "token token-away");
    expect(own.filter(({ message }) => String(message).includes("hand out the policy"))).toHaveLength(1);
    const told = (own as unknown as readonly { readonly operation: string; readonly outcome?: string }[]).map(
      ({ operation, outcome = "intended" }) => `${operation} ${outcome}`,
    );
    expect(new Set(told)).toEqual(
      new Set([
        ...["operator.list done", "operator.read done", "node.ban intended", "node.ban done"],
        ...["join-token.create intended", "join-token.create done"],
        ...[
          "operator.read refused",
          "operator.update refused",
          "operator.list refused",
          "operator.delete refused",
        ],
      ]),
    );
  });
});

describe("over QUIC, as somebody who is nobody any more", () => {
  const TYPES = Object.keys(MESSAGE_SCHEMAS) as MessageType[];

  /** What every kind of message gets. */
  async function outcomes(agent: RawAgent): Promise<ReadonlySet<string>> {
    const found = new Set<string>();
    for (const type of TYPES) {
      const [message] = fc.sample<RksMessage>(arbitraryMessageOf[type], { numRuns: 1, seed: 7 });
      found.add(
        await agent.ask(message!).then(
          () => "answered",
          (reason: unknown) => RksError.from(reason).code,
        ),
      );
    }
    return found;
  }

  test("a banned node hears that, whatever it says, and may again after unban", async () => {
    const key = aKey();
    const { token } = await newToken(cluster);
    const certificate = await joinRaw(cluster, { token, csr: aRequest({ key }), nodeName: "banned-1" });
    const credentials = credentialsOf(certificate, key.pkcs8);
    await askRks(cluster, "POST", "/v1/rk8s/nodes/banned-1/ban", {});
    {
      await using agent = await RawAgent.dial(cluster, { credentials });
      expect([...(await outcomes(agent))]).toEqual(["NODE_BANNED"]);
    }
    await askRks(cluster, "POST", "/v1/rk8s/nodes/banned-1/unban", {});
    await using agent = await RawAgent.dial(cluster, { credentials: credentialsOf(certificate, key.pkcs8) });
    expect((await agent.greet()).message.type).toBe("Welcome");
  });

  test.each(["foreign", "expired"])(
    "a certificate that is %s gets no answer to any message",
    async (kind) => {
      const forger =
        kind === "foreign" ? Forger.foreign("rk8s cluster root") : await Forger.ofCluster(cluster);
      const credentials = forger.credentials({
        commonName: "banned-1",
        uris: ["spiffe://rk8s.local/node/banned-1"],
        extendedKeyUsage: [OID.clientAuth],
        ...(kind === "expired" ? { lifetimeMs: -60_000 } : {}),
      });
      const attempt = (async () => {
        await using agent = await RawAgent.dial(cluster, { credentials });
        return [...(await outcomes(agent))];
      })().catch((reason: unknown) => [RksError.from(reason).code]);
      expect(await attempt).not.toContain("answered");
    },
  );
});

describe("the file of an audit device", () => {
  const file = (): string => join(cluster.folder, "vault.log");
  const verify = (...args: readonly string[]): ReturnType<Cluster["rks"]> =>
    cluster.rks(["audit", "verify", "--device", "file", "--socket", cluster.socket, ...args]);
  const request = (): Promise<unknown> => root.read("sys/mounts");

  test("is unbroken while requests are written, over its rotation and over a kill in the middle of them", async () => {
    await root.write("sys/audit/file", { type: "file", options: { file_path: file() } });
    await Promise.all(Array.from({ length: 50 }, request));
    expect(await verify()).toMatchObject({
      status: 0,
      stdout: expect.stringContaining("ok: unbroken") as string,
    });
    await rename(file(), `${file()}.1`);
    const asking = Array.from({ length: 50 }, () => request().catch(() => undefined));
    await asking[0];
    cluster.controlPlane.kill("SIGKILL");
    await cluster.controlPlane.exited;
    await Promise.all(asking);
    await appendFile(file(), '{"time":"2026-01-01T00:00:00Z","type":"requ');
    await cluster.startControlPlane();
    root = await vaultApi(cluster);
    await request();
    const whole = await verify(`${file()}.1`, file(), "--json");
    expect(JSON.parse(whole.stdout)).toMatchObject({ isGood: true, isConfirmed: true, unchained: 0 });
    const half = await verify(file(), "--json");
    expect(JSON.parse(half.stdout)).toMatchObject({ isGood: true, isConfirmed: true });
    expect(await cluster.rks(["audit", "verify", `${file()}.1`, file()])).toMatchObject({ status: 0 });
  });

  test("tells a removed and a changed line, also to who may only ask for its last one", async () => {
    await root.write("sys/policies/acl/head", {
      policy: 'path "sys/audit-head/file" { capabilities = ["read"] }',
    });
    const env = {
      VAULT_ADDR: root.address,
      VAULT_CACERT: cluster.rootCertPath,
      VAULT_TOKEN: await narrowToken(root, ["head"]),
    };
    const over = (): ReturnType<Cluster["rks"]> =>
      cluster.rks(["audit", "verify", "--device", "file"], { env });
    expect(await over()).toMatchObject({ status: 0 });
    const lines = (await readFile(file(), "utf8")).split("\n");
    const says = (text: string) => ({ status: 65, stdout: expect.stringContaining(text) as string });
    await writeFile(file(), lines.with(2, lines[2]!.replace('"operation":"', '"operation":"x')).join("\n"));
    expect(await over()).toMatchObject(says(`${file()}:3: record`));
    await writeFile(file(), (await readFile(file(), "utf8")).split("\n").toSpliced(5, 2).join("\n"));
    expect(await over()).toMatchObject(says(`${file()}:6: records`));
  });

  test("tells a tail that was taken away while rks was down", async () => {
    await root.ask({ method: "DELETE", path: "sys/audit/file" });
    await rename(file(), `${file()}.2`);
    await root.write("sys/audit/file", { type: "file", options: { file_path: file() } });
    await request();
    expect(await verify()).toMatchObject({ status: 0 });
    expect(await cluster.controlPlane.stop()).toBe(0);
    const lines = (await readFile(file(), "utf8")).trimEnd().split("\n");
    await writeFile(file(), `${lines.slice(0, -1).join("\n")}\n`);
    await cluster.startControlPlane();
    root = await vaultApi(cluster);
    expect(await verify()).toMatchObject({
      status: 65,
      stdout: expect.stringContaining("missing") as string,
    });
    expect(await readFile(file(), "utf8")).toContain('"path":"sys/audit/broken"');
    expect(cluster.controlPlane.stderr).toContain("Audit log is not what was written to it");
    await root.ask({ method: "DELETE", path: "sys/audit/file" });
  });
});

describe("the audit log", () => {
  async function verify(...args: readonly string[]): Promise<{
    readonly status: number | null;
    readonly found: Readonly<Record<string, unknown>>;
  }> {
    const { status, stdout } = await cluster.rks([
      "audit",
      "verify",
      "--config",
      cluster.configFile,
      "--json",
      ...args,
    ]);
    return { status, found: JSON.parse(stdout) as Readonly<Record<string, unknown>> };
  }

  test("is unbroken after a kill in the middle of a line, which is explained", async () => {
    const joining = Array.from({ length: 20 }, () => newToken(cluster).catch(() => undefined));
    await joining[0];
    cluster.controlPlane.kill("SIGKILL");
    await cluster.controlPlane.exited;
    await Promise.all(joining);
    await appendFile(auditFile(), '{"time":"2026-01-01T00:00:00Z","type":"int');
    const offline = await cluster.rks(["audit", "verify", auditFile()]);
    expect(offline).toMatchObject({
      status: 0,
      stderr: expect.stringContaining("line that was not ended") as string,
    });
    await cluster.startControlPlane();
    expect(await verify()).toMatchObject({
      status: 0,
      found: { isGood: true, isConfirmed: true, problems: [] },
    });
    const cut = (await records()).filter((line) => line["operation"] === "audit.cut-off");
    expect(cut).toMatchObject([{ actor: "rks" }]);
  });

  test("is followed over its rotation, one document a line", async () => {
    await using tail = new Daemon(RKS, [
      "audit",
      "tail",
      "-n",
      "1",
      "-f",
      "--json",
      "--config",
      cluster.configFile,
    ]);
    await tail.line(() => true);
    await rename(auditFile(), `${auditFile()}.1`);
    const { id } = await cluster.mintToken();
    const made = await tail.line(
      (line) => line["type"] === "result" && JSON.stringify(line["fields"] ?? {}).includes(id),
    );
    expect(made).toMatchObject({ operation: "join-token.create", outcome: "done" });
    expect(await verify(`${auditFile()}.1`, auditFile())).toMatchObject({
      status: 0,
      found: { isConfirmed: true, files: [{ file: `${auditFile()}.1` }, { file: auditFile() }] },
    });
  });

  test("tells the line that was changed, and a tail that was taken away", async () => {
    const file = `${auditFile()}.1`;
    const before = await readFile(file, "utf8");
    const lines = before.split("\n");
    await writeFile(file, lines.with(4, lines[4]!.replace('"actor":"', '"actor":"x')).join("\n"));
    expect(await verify(file)).toMatchObject({ status: 65 });
    const changed = await cluster.rks(["audit", "verify", file, "--json"]);
    expect(JSON.parse(changed.stdout)).toMatchObject({ problems: [{ file, line: 5, kind: "changed" }] });
    await writeFile(file, lines.toSpliced(6, 1).join("\n"));
    const said = await cluster.rks(["audit", "verify", file]);
    expect(said).toMatchObject({
      status: 65,
      stdout: expect.stringContaining(`${file}:7: record 7 is missing`) as string,
    });
    await writeFile(file, before);
    await cluster.mintToken();
    const whole = await readFile(auditFile(), "utf8");
    await writeFile(auditFile(), whole.slice(0, whole.lastIndexOf("\n", whole.length - 2) + 1));
    expect(await verify()).toMatchObject({
      status: 65,
      found: { isConfirmed: false, problems: [{ kind: "missing" }] },
    });
  });
});
