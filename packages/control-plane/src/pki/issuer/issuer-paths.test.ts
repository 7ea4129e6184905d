import { X509Certificate } from "node:crypto";
import {
  parseAuthorityInfoAccess,
  parseCertificate,
  parseCrlDistributionPoints,
  parseFreshestCrl,
} from "@rk8s/x509";
import { expect, test } from "vitest";
import { aPki, TEST_NOW_MS, type TestPki } from "../testing/a-pki-backend.js";
import { certificateText, hasOpenssl } from "../testing/openssl.js";

const certificateOf = (pem: unknown) =>
  parseCertificate(Uint8Array.from(new X509Certificate(String(pem)).raw));

/** A mount with a root of this name and a role that allows everything. */
async function aRoot(fields: object = {}): Promise<TestPki> {
  const pki = await aPki();
  await pki.write("root/generate/internal", { common_name: "Root", key_type: "ec", ttl: "1000h", ...fields });
  await pki.write("roles/web", { key_type: "ec", allow_any_name: true });
  return pki;
}

const issue = (pki: TestPki, fields: object = {}) =>
  pki.write("issue/web", { common_name: "a.example", ttl: "1h", ...fields });

test("an issuer is read with everything that a client looks for, its usage as text", async () => {
  const pki = await aRoot({ issuer_name: "one" });
  const data = await pki.read("issuer/one");
  expect(data).toEqual({
    issuer_id: expect.any(String) as string,
    issuer_name: "one",
    key_id: expect.any(String) as string,
    certificate: expect.stringContaining("BEGIN CERTIFICATE") as string,
    manual_chain: null,
    ca_chain: [data["certificate"]],
    serial_number: expect.stringMatching(/^[0-9a-f:]{59}$/) as string,
    leaf_not_after_behavior: "err",
    usage: "read-only,issuing-certificates,crl-signing,ocsp-signing",
    revocation_signature_algorithm: "ECDSAWithSHA256",
    issuing_certificates: [],
    crl_distribution_points: [],
    delta_crl_distribution_points: [],
    ocsp_servers: [],
    enable_aia_url_templating: false,
    revoked: false,
  });
  const id = String(data["issuer_id"]);
  for (const reference of [id, id.toUpperCase(), "default"]) {
    expect(await pki.read(`issuer/${reference}`)).toEqual(data);
  }
  await expect(pki.ask("read", "issuer/nobody")).resolves.toBeUndefined();
});

test("issuers are listed for everyone, in pages", async () => {
  const pki = await aPki();
  await expect(pki.ask("list", "issuers")).resolves.toBeUndefined();
  for (const issuer_name of ["a", "b", "c"]) {
    await pki.write("root/generate/internal", { common_name: issuer_name, key_type: "ec", issuer_name });
  }
  const all = (await pki.ask("list", "issuers"))?.data as {
    keys: string[];
    key_info: Record<
      string,
      { issuer_name: string; is_default: boolean; serial_number: string; key_id: string }
    >;
  };
  expect(all.keys).toHaveLength(3);
  expect(
    Object.values(all.key_info)
      .map(({ issuer_name }) => issuer_name)
      .toSorted(),
  ).toEqual(["a", "b", "c"]);
  expect(Object.values(all.key_info).filter(({ is_default }) => is_default)).toHaveLength(1);
  const page = await pki.ask("list", "issuers", { after: all.keys[0], limit: 1 });
  expect(page?.data?.["keys"]).toEqual([all.keys[1]]);
  expect(pki.backend.paths.match("issuers")?.entry.operations.list?.access).toBe("anyone");
});

test.each(["json", "der", "pem"])("issuer/:ref/%s is for everyone and holds no key", async (form) => {
  const pki = await aRoot();
  expect(pki.backend.paths.match(`issuer/default/${form}`)?.entry.operations.read?.access).toBe("anyone");
  const answer = await pki.ask("read", `issuer/default/${form}`);
  const { certificate } = await pki.read("issuer/default");
  expect(answer?.data).toMatchObject({ certificate });
  expect(JSON.stringify(answer)).not.toContain("PRIVATE");
  await expect(pki.ask("read", `issuer/nobody/${form}`)).resolves.toBeUndefined();
});

test("an issuer's raw forms are DER, PEM and JSON with the chain", async () => {
  const pki = await aRoot();
  const { certificate, issuer_id, issuer_name } = await pki.read("issuer/default");
  const body = async (form: string) => (await pki.ask("read", `issuer/default/${form}`))?.raw?.body;
  expect(await body("der")).toEqual(certificateOf(certificate).der);
  expect(await body("pem")).toBe(certificate);
  expect(await pki.read("issuer/default/json")).toEqual({
    certificate,
    ca_chain: [certificate],
    issuer_id,
    issuer_name,
  });
});

test("a write sets everything, a patch only what it names", async () => {
  const pki = await aRoot({ issuer_name: "one" });
  await pki.ask("patch", "issuer/one", {
    leaf_not_after_behavior: "truncate",
    usage: "issuing-certificates",
    crl_distribution_points: "http://crl.example/",
  });
  const patched = { leaf_not_after_behavior: "truncate", usage: "read-only,issuing-certificates" };
  expect(await pki.read("issuer/one")).toMatchObject({ ...patched, issuer_name: "one" });
  await pki.ask("patch", "issuer/one", { issuer_name: "two" });
  expect(await pki.read("issuer/two")).toMatchObject({
    ...patched,
    crl_distribution_points: ["http://crl.example/"],
  });
  await pki.write("issuer/two", { usage: ["ocsp-signing", "read-only"] });
  expect(await pki.read("issuer/default")).toMatchObject({
    issuer_name: "",
    leaf_not_after_behavior: "err",
    usage: "read-only,ocsp-signing",
    crl_distribution_points: [],
  });
  const reopened = await aPki({ storage: pki.storage });
  expect(await reopened.read("issuer/default")).toEqual(await pki.read("issuer/default"));
});

test.each<{ name: string; fields: object }>([
  { name: "a behaviour that is none", fields: { leaf_not_after_behavior: "maybe" } },
  { name: "a usage that is none", fields: { usage: "everything" } },
  { name: "an algorithm that is none", fields: { revocation_signature_algorithm: "MD5WithRSA" } },
  { name: "another key's algorithm", fields: { revocation_signature_algorithm: "SHA256WithRSA" } },
  { name: "a URL that is none", fields: { issuing_certificates: "ca.example" } },
  { name: "a script for a URL", fields: { ocsp_servers: "javascript:alert(1)" } },
  { name: "21 URLs", fields: { ocsp_servers: Array.from({ length: 21 }, (_, n) => `http://o${n}/`) } },
  { name: "a template that is not switched on", fields: { ocsp_servers: "http://o/{{issuer_id}}" } },
  { name: "a chain without itself", fields: { manual_chain: "other" } },
  { name: "a chain with a stranger", fields: { manual_chain: "one,stranger" } },
  { name: "a chain with itself twice", fields: { manual_chain: "one,other,one" } },
  { name: "a name that is taken", fields: { issuer_name: "other" } },
  { name: "the name default", fields: { issuer_name: "default" } },
])("$name is refused, and the issuer stays as it was", async ({ fields }) => {
  const pki = await aRoot({ issuer_name: "one" });
  await pki.write("root/generate/internal", { common_name: "Other", key_type: "ec", issuer_name: "other" });
  const before = await pki.read("issuer/one");
  for (const operation of ["update", "patch"] as const) {
    const request = operation === "update" ? { issuer_name: "one", ...fields } : fields;
    await expect(pki.ask(operation, "issuer/one", request)).rejects.toMatchObject({ code: "INPUT_INVALID" });
  }
  expect(await pki.read("issuer/one")).toEqual(before);
});

test("a manual chain is what leaves are answered with", async () => {
  const pki = await aRoot({ issuer_name: "one" });
  await pki.write("root/generate/internal", { common_name: "Other", key_type: "ec", issuer_name: "other" });
  await pki.ask("patch", "issuer/one", { manual_chain: ["one", "other"] });
  const other = await pki.read("issuer/other");
  expect((await issue(pki))["ca_chain"]).toEqual([
    (await pki.read("issuer/one"))["certificate"],
    other["certificate"],
  ]);
  expect((await pki.read("issuer/one"))["manual_chain"]).toContain(other["issuer_id"]);
  await pki.ask("delete", "issuer/other");
  expect((await issue(pki))["ca_chain"]).toHaveLength(1);
});

test("an issuer without a usage is not used for it", async () => {
  const pki = await aRoot();
  await pki.ask("patch", "issuer/default", { usage: "read-only" });
  await expect(issue(pki)).rejects.toMatchObject({
    code: "INPUT_INVALID",
    message: expect.stringContaining("issuing-certificates") as string,
  });
  await pki.ask("patch", "issuer/default", { usage: "issuing-certificates" });
  await expect(issue(pki)).resolves.toHaveProperty("certificate");
});

test("a revoked issuer signs no more, stays revoked, and cannot be made to sign again", async () => {
  const pki = await aRoot();
  const revoked = await pki.write("issuer/default/revoke");
  expect(revoked).toMatchObject({
    revoked: true,
    usage: "read-only,crl-signing,ocsp-signing",
    revocation_time: TEST_NOW_MS / 1000,
    revocation_time_rfc3339: new Date(TEST_NOW_MS).toISOString(),
  });
  pki.clock.nowMs += 60_000;
  expect(await pki.write("issuer/default/revoke")).toEqual(revoked);
  await expect(issue(pki)).rejects.toMatchObject({ code: "INPUT_INVALID" });
  await expect(pki.ask("patch", "issuer/default", { usage: "issuing-certificates" })).rejects.toMatchObject({
    code: "INPUT_INVALID",
    message: expect.stringContaining("revoked") as string,
  });
  // A whole write does not ask for what cannot be.
  expect(await pki.write("issuer/default", { issuer_name: "old" })).toMatchObject({
    usage: "read-only,crl-signing,ocsp-signing",
    revoked: true,
  });
  const reopened = await aPki({ storage: pki.storage });
  expect(await reopened.read("issuer/old")).toMatchObject({ revoked: true });
});

test("deleting the default says so, leaves the key, and what follows says what is missing", async () => {
  const pki = await aRoot();
  const { key_id } = await pki.read("issuer/default");
  const answer = await pki.ask("delete", "issuer/default");
  expect(answer?.warnings?.[0]).toContain("was the default");
  expect(await pki.read("config/issuers")).toMatchObject({ default: "" });
  expect(await pki.read(`key/${String(key_id)}`)).toMatchObject({ key_id });
  await expect(issue(pki)).rejects.toMatchObject({
    code: "INPUT_INVALID",
    message: "no default issuer currently configured",
  });
  await expect(pki.ask("delete", "issuer/default")).resolves.toBeUndefined();
  // The next one is the default again.
  await pki.write("root/generate/internal", { common_name: "Next", key_type: "ec" });
  await expect(issue(pki)).resolves.toHaveProperty("certificate");
});

test("issuing while the default is deleted gives whole certificates or a clear refusal", async () => {
  const pki = await aRoot();
  const { certificate } = await pki.read("issuer/default");
  const { publicKey } = new X509Certificate(String(certificate));
  const asked = Array.from({ length: 40 }, async (_, n) => {
    if (n === 20) await pki.ask("delete", "issuer/default");
    return issue(pki).then(
      (data) => String(data["certificate"]),
      (error: unknown) => (error as { code: string }).code,
    );
  });
  const results = await Promise.all(asked);
  expect(results).toContain("INPUT_INVALID");
  const issued = results.filter((result) => result !== "INPUT_INVALID");
  expect(issued.length).toBeGreaterThan(0);
  expect(issued.every((pem) => new X509Certificate(pem).verify(publicKey))).toBe(true);
});

test("a changed name, key or access point is seen by the next certificate at once", async () => {
  const pki = await aRoot({ issuer_name: "one" });
  await issue(pki);
  await pki.write("config/urls", { ocsp_servers: "http://ocsp.example/" });
  const first = certificateOf((await issue(pki))["certificate"]);
  expect(parseAuthorityInfoAccess(first.extensions)?.ocsp).toEqual(["http://ocsp.example/"]);
  await pki.ask("patch", "issuer/one", { ocsp_servers: "http://own.example/" });
  const second = certificateOf((await issue(pki))["certificate"]);
  expect(parseAuthorityInfoAccess(second.extensions)?.ocsp).toEqual(["http://own.example/"]);
});

test("leaves and intermediates carry the access points, templates filled in", async () => {
  const pki = await aRoot();
  const warned = await pki.ask("update", "config/urls", {
    issuing_certificates: "{{cluster_aia_path}}/issuer/{{issuer_id}}/der",
    crl_distribution_points: ["{{cluster_aia_path}}/issuer/{{ issuer_id }}/crl/der", "ldap://l.example/c"],
    delta_crl_distribution_points: "http://d.example/delta",
    ocsp_servers: "{{cluster_path}}/ocsp",
    enable_templating: true,
  });
  expect(warned?.warnings?.[0]).toContain("config/cluster");
  await expect(issue(pki)).rejects.toMatchObject({ code: "INPUT_INVALID" });
  await pki.write("config/cluster", { path: "https://v.example/v1/pki", aia_path: "http://cdn.example/pki" });
  const { issuer_id: id } = (await pki.read("issuer/default")) as { issuer_id: string };
  const { csr } = await pki.write("intermediate/generate/internal", { common_name: "I", key_type: "ec" });
  const { certificate: below } = await pki.write("root/sign-intermediate", { csr, ttl: "9h" });
  for (const pem of [(await issue(pki))["certificate"], below]) {
    const { extensions } = certificateOf(pem);
    expect(parseAuthorityInfoAccess(extensions)).toEqual({
      caIssuers: [`http://cdn.example/pki/issuer/${id}/der`],
      ocsp: ["https://v.example/v1/pki/ocsp"],
    });
    expect(parseCrlDistributionPoints(extensions)).toEqual([
      `http://cdn.example/pki/issuer/${id}/crl/der`,
      "ldap://l.example/c",
    ]);
    expect(parseFreshestCrl(extensions)).toEqual(["http://d.example/delta"]);
  }
  if (!hasOpenssl) return;
  const text = certificateText(below);
  expect(text).toContain(`CA Issuers - URI:http://cdn.example/pki/issuer/${id}/der`);
  expect(text).toContain("OCSP - URI:https://v.example/v1/pki/ocsp");
});

test("raw reads of the CA change their time with every change, by a second at least", async () => {
  const pki = await aRoot();
  const modified = async () => (await pki.ask("read", "ca/pem"))?.raw?.lastModifiedMs ?? 0;
  const first = await modified();
  expect(first).toBe(TEST_NOW_MS);
  expect(await modified()).toBe(first);
  await pki.ask("patch", "issuer/default", { issuer_name: "x" });
  expect(await modified()).toBe(first + 1000);
  pki.clock.nowMs -= 3_600_000;
  await pki.ask("delete", "issuer/default");
  expect(await modified()).toBe(first + 2000);
  const reopened = await aPki({ storage: pki.storage });
  expect((await reopened.ask("read", "ca"))?.raw).toMatchObject({ body: "", lastModifiedMs: first + 2000 });
});

test("the public reads of the CA agree with each other and hold no key", async () => {
  const pki = await aRoot();
  const { certificate } = await pki.read("issuer/default");
  const bodies = await Promise.all(["ca", "ca/pem", "ca_chain"].map((path) => pki.ask("read", path)));
  expect(bodies.map((answer) => answer?.raw?.contentType)).toEqual([
    "application/pkix-cert",
    "application/pem-certificate-chain",
    "application/pem-certificate-chain",
  ]);
  expect(bodies.map((answer) => answer?.raw?.body)).toEqual([
    certificateOf(certificate).der,
    certificate,
    certificate,
  ]);
  expect(await pki.read("cert/ca")).toMatchObject({ certificate, revocation_time: 0 });
  expect(await pki.read("cert/ca_chain")).toMatchObject({ certificate, ca_chain: certificate });
});
