import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { z } from "zod";
import { Cluster } from "../src/harness/cluster.js";
import { type VaultApi, vaultApi } from "../src/harness/vault-api.js";
import { type WireReply, wireTo } from "../src/harness/wire.js";

/** The folder with what was recorded of real clients: `npm run test:vectors -- FOLDER`. */
const FOLDER = z.string().min(1).parse(process.env["RK8S_VECTORS"]);

const recordedRequest = z.object({
  m: z.string(),
  u: z.string(),
  h: z.record(z.string(), z.string()),
  b: z.string(),
});
type RecordedRequest = z.output<typeof recordedRequest>;

/** What is asked where nothing is, and why that is right. */
const NOT_SERVED: Readonly<Record<string, string>> = {
  // A bug of node-vault: without `mount_point` it leaves the mount's name out.
  "POST /v1/auth//login": "400",
  // hashi-vault-js was recorded with one root path for everything; a PKI mount has no login, and it logs in without a token.
  "POST /v1/secret/login": "403",
};
/** They would end the run. */
const SKIPPED = ["PUT /v1/sys/seal"];

/** Mounts, login methods and roles that the recorded requests ask, whatever of them was deleted on the way. */
async function prepare(root: VaultApi): Promise<void> {
  const mounts = await root.read("sys/mounts");
  for (const name of ["pki", "secret"]) {
    if (`${name}/` in mounts) continue;
    await root.write(`sys/mounts/${name}`, { type: "pki" });
    await root.write(`${name}/root/generate/internal`, { common_name: name, key_type: "ec" });
    for (const role of ["r", "role"])
      await root.write(`${name}/roles/${role}`, { allow_any_name: true, key_type: "ec" });
  }
  const methods = await root.read("sys/auth");
  for (const name of ["approle", "kubernetes"]) {
    if (!(`${name}/` in methods)) await root.write(`sys/auth/${name}`, { type: name });
  }
}

/** A token with every right for one request, which may be the one to revoke it. */
async function ownToken(root: VaultApi): Promise<string> {
  const { json } = await root.ask({
    method: "POST",
    path: "auth/token/create-orphan",
    body: { policies: ["root"] },
  });
  return z.object({ auth: z.object({ client_token: z.string() }) }).parse(json).auth.client_token;
}

/** As it was recorded, but for the token, the one namespace that there is, and places outside of the test. */
function adapted(
  { h, b }: RecordedRequest,
  token: string,
  folder: string,
): { headers: Record<string, string>; body?: string } {
  const { "x-vault-namespace": _, connection: __, ...headers } = h;
  if ("x-vault-token" in headers) headers["x-vault-token"] = token;
  const body = b.replace('"/x"', JSON.stringify(join(folder, "audit.log"))).replace("1.2.3.4", "127.0.0.1:1");
  return { headers, ...(b === "" ? {} : { body }) };
}

/** What is wrong with an answer; undefined: a client can go on with it. */
function problemOf({ status, text, json }: WireReply, method: string): string | undefined {
  const { errors = [] } = z
    .object({ errors: z.array(z.string()).optional() })
    .catch({})
    .parse(json);
  const isUnknown = errors.some((error) => /^nothing serves |cannot be asked to /.test(error));
  const isServed = status < 500 && ![201, 202, 405, 415].includes(status) && !isUnknown;
  const isForm =
    text === "" ? status === 204 || method === "HEAD" : json !== undefined || text.startsWith("-----BEGIN");
  return isServed && isForm ? undefined : `${status} ${text.slice(0, 300)}`;
}

const recordings = (await readdir(FOLDER)).filter((name) => /^wire-.*\.jsonl$/.test(name));

test("there are recordings of three clients", () => {
  expect(recordings).toHaveLength(3);
});

test.each(recordings)("%s: everything that was recorded is served", async (name) => {
  await using cluster = await Cluster.start({
    tls_config: { vault_folder: "./data", keep_dangerous_files: true },
  });
  const root = await vaultApi(cluster);
  using wire = await wireTo(cluster);
  const problems: Record<string, string> = {};
  const unserved: Record<string, string> = {};
  for (const line of (await readFile(join(FOLDER, name), "utf8")).trimEnd().split("\n")) {
    const recorded = recordedRequest.parse(JSON.parse(line));
    const asked = `${recorded.m} ${recorded.u}`;
    if (SKIPPED.includes(asked)) continue;
    await prepare(root);
    const request = adapted(recorded, await ownToken(root), cluster.folder);
    const reply = await wire.send({ method: recorded.m, path: recorded.u, ...request });
    const problem = problemOf(reply, recorded.m);
    if (asked in NOT_SERVED) unserved[asked] = String(reply.status);
    else if (problem !== undefined) problems[asked] = problem;
  }
  expect(problems).toEqual({});
  expect(NOT_SERVED).toMatchObject(unserved);
});
