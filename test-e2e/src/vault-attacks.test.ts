import { encodePem } from "@rk8s/x509";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { Cluster } from "./harness/cluster.js";
import { aKey, aRequest } from "./harness/raw-request.js";
import { type VaultApi, vaultApi } from "./harness/vault-api.js";
import { type Wire, type WireReply, wireTo } from "./harness/wire.js";

const AT_ONCE = 50;

let cluster: Cluster;
let root: VaultApi;
/** With as many connections as there are requests at once. */
let wire: Wire;
beforeAll(async () => {
  cluster = await Cluster.start({ tls_config: { vault_folder: "./data", keep_dangerous_files: true } });
  root = await vaultApi(cluster);
  wire = await wireTo(cluster, { connections: AT_ONCE });
  await root.write("sys/mounts/pki", { type: "pki" });
  await root.write("pki/root/generate/internal", { common_name: "attacked root", key_type: "ec" });
  await root.write("pki/roles/web", { allow_any_name: true, key_type: "ec", ttl: "1h" });
  await root.write("sys/mounts/kv", { type: "kv" });
  await root.write("kv/secret", { value: "the secret" });
  await root.write("kv/team/a", { value: "of team a" });
});
afterAll(async () => {
  wire?.[Symbol.dispose]();
  await cluster?.[Symbol.asyncDispose]();
});

const auth = z.object({ auth: z.object({ client_token: z.string() }) });
const wrapping = z.object({ wrap_info: z.object({ token: z.string() }) });

let policies = 0;
/** A token that may what this policy says and nothing else. */
async function tokenWith(policy: string, more: object = {}): Promise<string> {
  const name = `attack-${(policies += 1)}`;
  await root.write(`sys/policies/acl/${name}`, { policy });
  const body = { policies: [name], no_default_policy: true, ...more };
  const { json } = await root.ask({ method: "POST", path: "auth/token/create", body });
  return auth.parse(json).auth.client_token;
}

/** How often each status came. */
function counted(replies: readonly WireReply[]): Readonly<Record<number, number>> {
  const counts: Record<number, number> = {};
  for (const { status } of replies) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}

/** The same request over fifty connections that are open already. */
async function fiftyTimes(request: Parameters<Wire["send"]>[0]): Promise<readonly WireReply[]> {
  const all = Array.from({ length: AT_ONCE });
  await Promise.all(all.map(() => wire.send({ method: "GET", path: "/v1/sys/seal-status" })));
  return Promise.all(all.map(() => wire.send(request)));
}

describe("a token or an answer that is there once", () => {
  test("a token with one use, from fifty connections at once, is used once", async () => {
    const token = await tokenWith(`path "pki/issue/web" { capabilities = ["update"] }`, { num_uses: 1 });
    const before = z.array(z.string()).parse((await root.read("pki/certs?list=true"))["keys"]).length;
    const body = JSON.stringify({ common_name: "once.example.com" });
    const replies = await fiftyTimes({ method: "POST", path: "/v1/pki/issue/web", token, body });
    expect(counted(replies)).toEqual({ 200: 1, 403: AT_ONCE - 1 });
    expect((await root.read("pki/certs?list=true"))["keys"]).toHaveLength(before + 1);
    expect((await wire.send({ method: "POST", path: "/v1/pki/issue/web", token, body })).status).toBe(403);
  });

  test("a token with seven uses is used seven times", async () => {
    const token = await tokenWith(`path "kv/secret" { capabilities = ["read"] }`, { num_uses: 7 });
    const replies = await fiftyTimes({ method: "GET", path: "/v1/kv/secret", token });
    expect(counted(replies)).toEqual({ 200: 7, 403: AT_ONCE - 7 });
  });

  async function aWrappedSecret(): Promise<string> {
    const headers = { "x-vault-wrap-ttl": "60" };
    return wrapping.parse((await root.ask({ method: "GET", path: "kv/secret", headers })).json).wrap_info
      .token;
  }

  test("a wrapped answer is unwrapped by one of fifty at once", async () => {
    const token = await aWrappedSecret();
    const replies = await fiftyTimes({ method: "POST", path: "/v1/sys/wrapping/unwrap", token });
    expect(counted(replies)).toEqual({ 200: 1, 400: AT_ONCE - 1 });
    expect(replies.filter(({ text }) => text.includes("the secret"))).toHaveLength(1);
  });

  test("a wrapped answer is unwrapped once, with its token in the header or in the body", async () => {
    for (const inBody of [true, false]) {
      const token = await aWrappedSecret();
      const request = inBody ? { token: root.token, body: JSON.stringify({ token }) } : { token };
      const ask = (): Promise<WireReply> =>
        wire.send({ method: "PUT", path: "/v1/sys/wrapping/unwrap", ...request });
      expect((await ask()).json).toMatchObject({ data: { value: "the secret" } });
      const again = await ask();
      expect(again.status).toBe(400);
      expect(again.json).toMatchObject({
        errors: expect.arrayContaining(["wrapping token is not valid or does not exist"]),
      });
    }
  });

  test("certificates that are issued at once have serial numbers of their own", async () => {
    const body = JSON.stringify({ common_name: "same.example.com" });
    const replies = await fiftyTimes({ method: "POST", path: "/v1/pki/issue/web", token: root.token, body });
    const serials = replies.map(
      ({ json }) =>
        z.object({ data: z.object({ serial_number: z.string() }) }).parse(json).data.serial_number,
    );
    expect(new Set(serials).size).toBe(AT_ONCE);
  });
});

describe("a path written otherwise", () => {
  const SPELLINGS = [
    "kv//secret",
    "kv/./secret",
    "kv/x/../secret",
    "kv/secret/",
    "kv/secret//",
    "kv/%73ecret",
    "kv%2fsecret",
    "kv%2Fsecret",
    "kv/%2e/secret",
    "kv/x/%2e%2e/secret",
    "kv/x/..%2fsecret",
    "kv/secret%00",
    "kv/secret%20",
    "kv/secret;x",
    "kv/;/secret",
    "kv\\secret",
    "kv/x\\..\\secret",
    "KV/secret",
    "kv/SECRET",
    "/kv/secret",
    "./kv/secret",
    "kv/%C0%AE%C0%AE/secret",
    "kv/%ef%bc%8fsecret",
    "kv/secret%E2%80%8B",
    "kv/%E2%80%8Bsecret",
    "kv/secret#",
    "kv/secret%23",
    "kv/secret%3flist=true",
    "kv/%2573ecret",
    "x/../kv/secret",
    "..;/kv/secret",
    "sys/../kv/secret",
    "kv/sec%09ret",
    "kv/secre%74",
  ];
  test("none goes around a deny, by whatever verb", async () => {
    const token =
      await tokenWith(`path "*" { capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"] }
path "kv/secret" { capabilities = ["deny"] }`);
    const around: string[] = [];
    for (const spelling of SPELLINGS) {
      for (const method of ["GET", "LIST", "POST", "DELETE"]) {
        const body = method === "POST" ? JSON.stringify({ value: "overwritten" }) : undefined;
        const reply = await wire.send({ method, path: `/v1/${spelling}`, token, body });
        if (reply.text.includes("the secret")) around.push(`${method} ${spelling}`);
        expect(reply.status).toBeLessThan(500);
      }
    }
    expect(around).toEqual([]);
    expect(await root.read("kv/secret")).toEqual({ value: "the secret" });
  });

  test("none reaches the cluster's CA with a right to write", async () => {
    const { text: before } = await wire.send({ method: "GET", path: "/v1/rk8s-pki/ca/pem" });
    for (const spelling of SPELLINGS) {
      const path = spelling
        .replaceAll(/kv/gi, (found) => (found === "kv" ? "rk8s-pki" : "RK8S-PKI"))
        .replaceAll("secret", "root");
      for (const method of ["POST", "DELETE"]) {
        const reply = await wire.send({
          method,
          path: `/v1/${path}`,
          token: root.token,
          body: method === "POST" ? "{}" : undefined,
        });
        expect({ path, isDone: reply.status < 400 }).toEqual({ path, isDone: false });
      }
    }
    expect((await wire.send({ method: "GET", path: "/v1/rk8s-pki/ca/pem" })).text).toBe(before);
  });

  test("the URL may be absolute or empty, and says nothing more", async () => {
    for (const path of [
      `${cluster.httpAddress}/v1/kv/secret`,
      "/v1",
      "/v1/",
      "/",
      "*",
      "/v1/%",
      "/v2/kv/secret",
      "//v1/kv/secret",
    ]) {
      const reply = await wire.send({ method: "GET", path });
      expect({ path, isRefused: reply.status >= 400 && reply.status < 500 }).toEqual({
        path,
        isRefused: true,
      });
    }
  });
});

describe("what became known of other vaults", () => {
  test("GHSA-g892-p242-8g86: addresses in a request are judged as those in the fields are", async () => {
    const key = aKey();
    const request = aRequest({ key, commonNames: ["www.example.com"], ipAddresses: ["10.0.0.1"] });
    const csr = encodePem("CERTIFICATE REQUEST", request);
    const anyName = { allow_any_name: true, key_type: "any", ttl: "1h" };
    await root.write("pki/roles/no-addresses", { ...anyName, allow_ip_sans: false });
    await root.write("pki/roles/one-network", { ...anyName, allowed_ip_sans_cidr: ["192.168.0.0/16"] });
    for (const role of ["no-addresses", "one-network"]) {
      const signed = await root.ask({ method: "POST", path: `pki/sign/${role}`, body: { csr } });
      expect({ role, status: signed.status }).toEqual({ role, status: 400 });
      const body = { common_name: "www.example.com", ip_sans: "10.0.0.1" };
      expect((await root.ask({ method: "POST", path: `pki/issue/${role}`, body })).status).toBe(400);
    }
    const { status } = await root.ask({ method: "POST", path: "pki/sign/web", body: { csr } });
    expect(status).toBe(200);
  });

  test("GHSA-xp3c-3jw3-4vcr: a denied folder is not listed, with or without the slash at its end", async () => {
    for (const denied of ["kv/team", "kv/team/", "kv/team*", "kv/+/"]) {
      const token = await tokenWith(`path "kv/*" { capabilities = ["read", "list"] }
path "${denied}" { capabilities = ["deny"] }`);
      for (const asked of [
        "LIST kv/team",
        "LIST kv/team/",
        "GET kv/team?list=true",
        "GET kv/team/?list=true",
        "SCAN kv/team",
      ]) {
        const [method = "", path = ""] = asked.split(" ");
        const { status } = await wire.send({ method, path: `/v1/${path}`, token });
        expect({ denied, asked, status }).toEqual({ denied, asked, status: 403 });
      }
    }
  });

  test("GHSA-59w7-v8rr-pr4p: a wildcard in what a template is filled with is no wildcard of the policy", async () => {
    await root.write("sys/auth/approle", { type: "approle" });
    const policy = `path "kv/{{identity.entity.metadata.team}}/a" { capabilities = ["read"] }
path "kv/{{identity.entity.metadata.prefix}}" { capabilities = ["read"] }`;
    await root.write("sys/policies/acl/templated", { policy });
    await root.write("auth/approle/role/r", { token_policies: "templated" });
    const { role_id } = await root.read("auth/approle/role/r/role-id");
    const { secret_id } = await root.write("auth/approle/role/r/secret-id", {});
    const login = await root.ask({
      method: "POST",
      path: "auth/approle/login",
      body: { role_id, secret_id },
    });
    const token = auth.parse(login.json).auth.client_token;
    const { entity_id } = await root.as(token).read("auth/token/lookup-self");
    const reads = async (metadata: object): Promise<readonly number[]> => {
      await root.write(`identity/entity/id/${String(entity_id)}`, { metadata });
      const paths = ["kv/team/a", "kv/secret"];
      return Promise.all(
        paths.map(async (path) => (await root.as(token).ask({ method: "GET", path })).status),
      );
    };
    expect(await reads({ team: "team", prefix: "secret" })).toEqual([200, 200]);
    expect(await reads({ team: "+", prefix: "*" })).toEqual([403, 403]);
    expect(await reads({ team: "*", prefix: "sec*" })).toEqual([403, 403]);
    expect(await reads({ team: 'team/a" { capabilities = ["sudo"] } #', prefix: "x/../secret" })).toEqual([
      403, 403,
    ]);
  });

  test("GHSA-34fc-gh42-pj53: no part of a token is worth more than none", async () => {
    const wrong = [
      root.token.slice(0, 10),
      root.token.slice(0, -1),
      `${root.token}a`,
      root.token.toUpperCase(),
      ` ${root.token}.`,
      "*",
      "hvs.",
    ];
    for (const token of wrong) {
      const reply = await wire.send({ method: "GET", path: "/v1/kv/secret", token });
      expect({ token, status: reply.status }).toEqual({ token, status: 403 });
      expect(reply.json).toMatchObject({ errors: ["permission denied"] });
    }
  });
});
