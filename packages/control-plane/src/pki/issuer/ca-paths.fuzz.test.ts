import { RksError } from "@rk8s/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { aCsr, aKey } from "../testing/a-csr.js";
import { aPki, type TestPki } from "../testing/a-pki-backend.js";

const PATHS = [
  "root/generate/exported",
  "root/generate/existing",
  "root/rotate/internal",
  "root/replace",
  "intermediate/generate/exported",
  "intermediate/cross-sign",
  "intermediate/set-signed",
  "root/sign-intermediate",
  "issuer/one/sign-intermediate",
  "root/sign-self-issued",
  "config/ca",
  "issuers/import/cert",
  "keys/generate/exported",
  "keys/import",
  "key/one",
  "issuer/one",
  "config/issuers",
  "config/keys",
  "config/urls",
  "config/cluster",
];
const FIELDS = [
  ..."common_name alt_names ip_sans uri_sans other_sans exclude_cn_from_sans serial_number ou country".split(
    " ",
  ),
  ..."format private_key_format key_bits key_name key_ref signature_bits use_pss ttl not_before".split(" "),
  ..."not_after not_before_duration max_path_length permitted_dns_domains excluded_ip_ranges".split(" "),
  ..."permitted_email_addresses excluded_uri_domains issuer_name issuer_ref use_csr_values".split(" "),
  ..."leaf_not_after_behavior usage manual_chain revocation_signature_algorithm ocsp_servers".split(" "),
  ..."issuing_certificates enable_aia_url_templating enable_templating default path aia_path".split(" "),
  ..."default_follows_latest_issuer add_basic_constraints unheard_of".split(" "),
];
const csr = aCsr({ key: aKey("ec"), commonName: "x" });

const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.constantFrom(
    "",
    "default",
    "one",
    "next",
    "1h",
    "-1",
    "0",
    "true",
    "*",
    "a.example",
    "a@b.example",
    "10.0.0.0/8",
  ),
  fc.constantFrom(
    "::1",
    "https://x/",
    "{{cluster_path}}/x",
    "{{issuer_id}}",
    "1.2.3;UTF8:x",
    "9999-12-31T23:59:59Z",
  ),
  fc.constantFrom(
    "__proto__",
    "a".repeat(70),
    "ü.example",
    "\u0000",
    "\ud800",
    "a,b",
    "permit",
    "crl-signing",
  ),
);
const value = fc.oneof(
  text,
  fc.integer(),
  fc.double(),
  fc.boolean(),
  fc.constant(null),
  fc.array(text, { maxLength: 4 }),
);
const body = fc.dictionary(fc.constantFrom(...FIELDS), value, { maxKeys: 6 });

/** Everything that requests with PEM need, so that they get beyond it. */
async function aTarget(): Promise<{ readonly pki: TestPki; readonly always: object }> {
  const pki = await aPki();
  const root = { common_name: "R", key_type: "ec", issuer_name: "one", key_name: "one" };
  const { certificate } = await pki.write("root/generate/internal", root);
  return { pki, always: { csr, certificate, pem_bundle: certificate, key_type: "ec" } };
}

test("whatever a request says, it is done or refused with a reason, and the mount opens again", async () => {
  const { pki, always } = await aTarget();
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...PATHS),
      fc.constantFrom("update", "patch"),
      body,
      async (path, verb, data) => {
        const error = await pki.ask(verb, path, { ...always, ...data }).then(
          () => undefined,
          (reason: unknown) => reason,
        );
        if (error === undefined) return;
        expect(error).toBeInstanceOf(RksError);
        expect((error as RksError).info.http).toBeLessThan(500);
      },
    ),
    { numRuns: 600 },
  );
  const reopened = await aPki({ storage: pki.storage });
  expect(await reopened.ask("list", "issuers")).toEqual(await pki.ask("list", "issuers"));
  expect(await reopened.ask("list", "keys")).toEqual(await pki.ask("list", "keys"));
  expect(await reopened.read("config/urls")).toEqual(await pki.read("config/urls"));
}, 60_000);
