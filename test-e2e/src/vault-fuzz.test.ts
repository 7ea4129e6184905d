import { encodePem } from "@rk8s/x509";
import fc from "fast-check";
import { expect, test } from "vitest";
import { z } from "zod";
import { type ApiOperation, apiOperations, type FieldType, pathOf } from "./harness/api-operations.js";
import { Cluster } from "./harness/cluster.js";
import { aKey, aRequest } from "./harness/raw-request.js";
import { type VaultApi, vaultApi } from "./harness/vault-api.js";
import { type Wire, type WireReply, wireTo } from "./harness/wire.js";

/** One in ten of what all kinds of fuzzing together have; the nightly run asks for more. */
const CASES = Math.floor(Number(process.env["FUZZ_CASES"] ?? 100_000) / 10);
const SEED = Number(process.env["FUZZ_SEED"] ?? Date.now() % 0x7fffffff);
const AT_ONCE = 32;

/** What would end the run, leave nothing to ask, or interrupt the rest: other tests ask these one by one. */
const EXCLUDED = [
  // A mount whose lifetimes change is closed and opened again; requests that run meanwhile are told to come again.
  "POST /sys/mounts/{path}/tune",
  "POST /sys/auth/{path}/tune",
  "POST /sys/seal",
  "POST /sys/step-down",
  "POST /sys/rekey/",
  "POST /sys/rotate/root/",
  "POST /sys/generate-root",
  "POST /sys/remount",
  "POST /auth/token/revoke-self",
  "DELETE /sys/mounts/",
  "DELETE /sys/auth/",
  "DELETE /pki/root",
];

const WORDS = ["web", "a", "current", "ec", "1h", "true", "0", "x".repeat(64)];
/** What cannot stand in the place of a path's parameter, or hardly. */
const oddSegment = fc.oneof(
  fc.string({ minLength: 1, maxLength: 12, unit: "grapheme" }).map(encodeURIComponent),
  fc.constantFrom(
    ...["a/b", "%2e%2e", "..", "%2f", "%00", "%ff", "a//b", "y".repeat(600), "a;b", "%C0%AF", "a%252fb"],
  ),
);
/** Values by the name of a field or a path's parameter with which there is something to be done. */
type Vocabulary = Readonly<Record<string, readonly string[]>>;

/** What is wrong for every field, or right for few. */
const anyValue = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom<unknown>(
    -1,
    1.5,
    1e21,
    2 ** 53,
    "-1s",
    "1h",
    "1e9",
    "\u0000",
    "*",
    "../..",
    "x".repeat(20_000),
    [],
    {},
    [[[[]]]],
    null,
  ),
  fc.array(fc.string(), { minLength: 1001, maxLength: 1010, size: "max" }).map((list) => list.fill("a")),
);
const TYPED: Readonly<Record<NonNullable<FieldType>, fc.Arbitrary<unknown>>> = {
  boolean: fc.constantFrom(true, false, "true", "0"),
  string: fc.oneof(fc.constantFrom(...WORDS), fc.string({ maxLength: 40, unit: "grapheme" })),
  integer: fc.oneof(fc.nat(10), fc.integer(), fc.constant("7")),
  duration: fc.constantFrom(0, 60, "60", "1h", "720h"),
  array: fc.oneof(fc.constantFrom("a,b", ""), fc.array(fc.constantFrom(...WORDS), { maxLength: 4 })),
  object: fc.dictionary(fc.string({ maxLength: 5 }), fc.constantFrom(...WORDS), { maxKeys: 4 }),
};

function valueOf(vocabulary: Vocabulary, name: string, type: FieldType): fc.Arbitrary<unknown> {
  const known = vocabulary[name];
  return known === undefined ? TYPED[type ?? "string"] : fc.constantFrom(...known);
}

/** Some of the fields as they should be, often with one that should not, and now and then one that nobody knows. */
function fieldsOf(
  { fields, template }: ApiOperation,
  vocabulary: Vocabulary,
): fc.Arbitrary<Record<string, unknown>> {
  const names = Object.keys(fields);
  const likely = names.filter((name) => name in vocabulary);
  const all = fc.record(
    Object.fromEntries(names.map((name) => [name, valueOf(vocabulary, name, fields[name])])),
  );
  const some = fc.tuple(
    all,
    fc.subarray(likely),
    fc.subarray(names, { maxLength: Math.min(names.length, 3) }),
  );
  const right = some.map(([made, ...chosen]) => pick(made, chosen.flat()));
  const wrong =
    names.length === 0
      ? fc.constant({})
      : fc.dictionary(fc.constantFrom(...names), anyValue, { minKeys: 1, maxKeys: 2 });
  // RSA keys are the default and take as long as a hundred other requests.
  const quick = /\/(generate|rotate)\//.test(template) ? { key_type: "ec", key_bits: 256 } : {};
  return fc
    .tuple(right, fc.oneof(fc.constant({}), wrong), fc.constantFrom({}, {}, {}, { nobody: { knows: [1] } }))
    .map(([own, odd, unknown]) => ({ ...own, ...quick, ...odd, ...unknown }));
}

function pick(all: Record<string, unknown>, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(names.map((name) => [name, all[name]]));
}

/** Bodies that are no JSON object. */
const brokenBody = fc.oneof(
  fc.constantFrom(
    "{",
    "[]",
    "null",
    "1",
    '"x"',
    '{"a":1',
    '{"__proto__":{"a":1}}',
    "a=b&c",
    "{}{}",
    `${'{"a":'.repeat(80)}1${"}".repeat(80)}`,
  ),
  fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes).toString("latin1")),
);

interface Case {
  readonly operation: ApiOperation;
  readonly who: "root" | "nobody" | "limited";
  readonly path: string;
  readonly body: string | undefined;
  readonly contentType: string | undefined;
}

function aCase(operations: readonly ApiOperation[], vocabulary: Vocabulary): fc.Arbitrary<Case> {
  return fc.constantFrom(...operations).chain((operation) => {
    const fields = fieldsOf(operation, vocabulary).map((made) => JSON.stringify(made));
    return fc
      .record({
        operation: fc.constant(operation),
        who: fc.constantFrom("root", "root", "root", "root", "nobody", "limited"),
        path: aPath(operation, vocabulary),
        body: fc.oneof({ weight: 9, arbitrary: fields }, { weight: 1, arbitrary: brokenBody }),
        contentType: fc.constantFrom(
          undefined,
          "application/json",
          "application/x-www-form-urlencoded",
          "text/plain; x",
        ),
      })
      .map(inItsPlace);
  });
}

function aPath(operation: ApiOperation, vocabulary: Vocabulary): fc.Arbitrary<string> {
  const names = [...operation.template.matchAll(/\{(\w+)\}/g)].map(([, name]) => name ?? "");
  const values = names.map((name) =>
    fc.oneof(
      { weight: 4, arbitrary: fc.constantFrom(...(vocabulary[name] ?? WORDS)) },
      { weight: 1, arbitrary: oddSegment },
    ),
  );
  return fc.tuple(...values).map((made) => pathOf(operation, (name) => made[names.indexOf(name)] ?? "a"));
}

/** Reads have their fields in the query; a patch has a type of its own. */
function inItsPlace(made: Case): Case {
  const { method } = made.operation;
  if (method === "PATCH") return { ...made, contentType: "application/merge-patch+json" };
  if (method === "POST") return made;
  let query = "";
  try {
    const fields = Object.entries(JSON.parse(made.body ?? "{}") as Record<string, unknown>);
    query = fields
      .slice(0, 20)
      .map(
        ([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(String(value).slice(0, 100))}`,
      )
      .join("&");
  } catch {
    query = "broken";
  }
  return {
    ...made,
    path: query === "" ? made.path : `${made.path}?${query}`,
    body: undefined,
    contentType: undefined,
  };
}

const errors = z.object({ errors: z.array(z.string()) });
/** What a version of a secret that was deleted is answered with, beside 404. */
const deleted = z.object({ data: z.object({ metadata: z.object({ version: z.int() }) }) });
/** Documents that are not JSON, and of what type they are. */
const RAW_TYPES = [
  "application/pkix-cert",
  "application/pem-certificate-chain",
  "application/x-pem-file",
  "application/pkix-crl",
  "application/ocsp-response",
  // sys/metrics
  "text/plain; version=0.0.4; charset=utf-8",
];

/** What is wrong with an answer; undefined: it is one that this caller may get. */
function problemOf({ operation, who, path }: Case, reply: WireReply): string | undefined {
  const { status, headers, text, json } = reply;
  const type = String(headers["content-type"]);
  if (status >= 500) return "a fault of the server";
  const mayAsk = who === "root" || operation.isOpen || mayLimited(who, operation, path);
  // What is no request to the vault is told so before anybody looks for a right.
  if (!mayAsk && status !== 403 && status !== 400) return "more than a refusal, to who may not ask";
  if (status >= 400)
    return (errors.safeParse(json).success || (status === 404 && deleted.safeParse(json).success)) &&
      type === "application/json"
      ? undefined
      : "an error that is no JSON";
  if (![200, 204].includes(status)) return "a status that clients do not know";
  if (status === 204) return text === "" ? undefined : "204 with a body";
  if (type === "application/json") return typeof json === "object" && json !== null ? undefined : "no JSON";
  return RAW_TYPES.includes(type) ? undefined : "a type that is not declared";
}

function mayLimited(who: Case["who"], { method }: ApiOperation, path: string): boolean {
  return who === "limited" && path.startsWith("/v1/kv/") && (method === "GET" || method === "LIST");
}

interface Prepared {
  readonly limited: string;
  readonly vocabulary: Vocabulary;
}

/** Something to ask for in every mount, and the words for it. */
async function prepare(root: VaultApi): Promise<Prepared> {
  await root.write("sys/mounts/pki", { type: "pki" });
  const made = await root.write("pki/root/generate/internal", { common_name: "fuzz", key_type: "ec" });
  const role = { allow_any_name: true, key_type: "ec", require_cn: false, ttl: "1h" };
  for (const name of ["web", "kept"]) await root.write(`pki/roles/${name}`, role);
  const leaf = await root.write("pki/issue/kept", { common_name: "www.example.com" });
  await root.write("sys/mounts/kv", { type: "kv", options: { version: "2" } });
  await root.write("sys/mounts/kv1", { type: "kv" });
  for (const path of ["a", "kept"]) await root.write(`kv/data/${path}`, { data: { a: "b" } });
  for (const type of ["approle", "kubernetes", "cert", "join-token"])
    await root.write(`sys/auth/${type}`, { type });
  await root.write("auth/approle/role/web", {});
  const { role_id } = await root.read("auth/approle/role/web/role-id");
  const { secret_id } = await root.write("auth/approle/role/web/secret-id", {});
  await root.write("sys/policies/acl/fuzz-limited", {
    policy: `path "kv/*" { capabilities = ["read", "list"] }`,
  });
  const certificates = [String(made["certificate"]), String(leaf["certificate"])];
  const csr = encodePem("CERTIFICATE REQUEST", aRequest({ key: aKey(), commonNames: ["www.example.com"] }));
  return {
    limited: await tokenWith(root, ["fuzz-limited"]),
    vocabulary: {
      type: ["internal", "exported"],
      name: ["web"],
      role: ["kept"],
      role_name: ["web"],
      issuer_ref: ["default", String(made["issuer_id"])],
      key_ref: ["default", String(made["key_id"])],
      default: ["default", String(made["issuer_id"])],
      serial: [String(leaf["serial_number"])],
      serial_number: [String(leaf["serial_number"]), "39:dd"],
      common_name: ["www.example.com", "", "*.example.com"],
      csr: [csr],
      certificate: certificates,
      pem_bundle: [...certificates, String(leaf["private_key"])],
      private_key: [String(leaf["private_key"])],
      key_type: ["ec", "ed25519"],
      format: ["pem", "der", "pem_bundle"],
      policy: [`path "a" { capabilities = ["read"] }`],
      rules: [`path "a" { capabilities = ["read"] }`],
      token: [await tokenWith(root, []), "hvs.nobody"],
      path: ["a", "kv", "pki", "approle"],
      role_id: [String(role_id)],
      secret_id: [String(secret_id)],
      alias_name_source: ["serviceaccount_uid"],
      bound_service_account_names: ["a"],
      bound_service_account_namespaces: ["a"],
      kubernetes_host: ["https://127.0.0.1:1"],
    },
  };
}

async function tokenWith(root: VaultApi, policies: readonly string[]): Promise<string> {
  const body = { policies, no_default_policy: true, ttl: "24h" };
  const { json } = await root.ask({ method: "POST", path: "auth/token/create-orphan", body });
  return z.object({ auth: z.object({ client_token: z.string() }) }).parse(json).auth.client_token;
}

async function tryCase(
  wire: Wire,
  tokens: Readonly<Record<Case["who"], string | undefined>>,
  one: Case,
): Promise<object | undefined> {
  const { operation, who, path, body, contentType } = one;
  const headers = contentType === undefined ? {} : { "content-type": contentType };
  const { method } = operation;
  const reply = await wire.send({ method, path, token: tokens[who], headers, body });
  const problem = problemOf(one, reply);
  return problem === undefined
    ? undefined
    : {
        problem,
        who,
        asked: `${method} ${path}`,
        body: body?.slice(0, 500),
        said: `${reply.status} ${reply.text.slice(0, 300)}`,
      };
}

test(
  "whatever is asked by whomever, the answer is one that the model allows",
  { timeout: 120_000 + CASES * 20 },
  async () => {
    await using cluster = await Cluster.start({
      tls_config: { vault_folder: "./data", keep_dangerous_files: true },
    });
    const { pid } = cluster.controlPlane;
    const root = await vaultApi(cluster);
    const { limited, vocabulary } = await prepare(root);
    using wire = await wireTo(cluster, { connections: AT_ONCE });
    const operations = (await apiOperations(root)).filter(
      ({ method, template }) => !EXCLUDED.some((prefix) => `${method} ${template}`.startsWith(prefix)),
    );
    const tokens = { root: root.token, nobody: undefined, limited };
    for (let at = 0; at < CASES; at += AT_ONCE) {
      const cases = fc.sample(aCase(operations, vocabulary), { numRuns: AT_ONCE, seed: SEED + at });
      const problems = await Promise.all(cases.map((one) => tryCase(wire, tokens, one)));
      expect({ seed: SEED, problems: problems.filter((problem) => problem !== undefined) }).toEqual({
        seed: SEED,
        problems: [],
      });
    }
    expect(cluster.controlPlane.pid).toBe(pid);
    expect(await root.read("kv/data/kept")).toBeDefined();
    expect((await wire.send({ method: "GET", path: "/readyz" })).status).toBe(200);
  },
);
