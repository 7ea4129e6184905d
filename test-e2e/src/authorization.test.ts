import { appendFile, readFile, rename, writeFile } from "node:fs/promises";
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
import { type VaultApi, vaultApi } from "./harness/vault-api.js";

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
    const { json } = await root.ask({
      method: "POST",
      path: "auth/token/create",
      body: { policies: ["look"], no_default_policy: true, display_name: "ci" },
    });
    const { auth } = json as { readonly auth: { readonly client_token: string } };
    const api = root.as(auth.client_token);
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
