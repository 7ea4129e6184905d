import { type Certificate, decodePem, parseCertificate, parseCertificateRequest } from "@rk8s/x509";
import { RksError } from "@rk8s/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { JsonObject } from "../../vault/backend.js";
import { matchesGlob, refusalOfName, toDnsName } from "../name-rules.js";
import { parseRole } from "../role/role.js";
import { aCsr, aKey } from "../testing/a-csr.js";
import { aPki } from "../testing/a-pki-backend.js";
import { canonicalIpAddress } from "./ip-sans.js";
import { IssueCertificateResponse } from "./issue-response.js";

const RUNS = 120;
const TIMEOUT_MS = 60_000;
const key = aKey("ec");

/** Names near and far from those that the role allows. */
const name = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.string({
    unit: fc.constantFrom("a", "b", ".", "*", "-", "@", "_", " ", "ü", "ß", "。", "\u0000", "\n"),
  }),
  fc
    .tuple(
      fc.string({ unit: fc.constantFrom("a", "1", "*", "-", ".", "ü", "\u200d", "\u202e"), maxLength: 12 }),
      fc.constantFrom(
        ".shop.test",
        "@shop.test",
        "shop.test",
        ".SHOP.test",
        ".shop.test.",
        ".shop.test\u0000.evil",
      ),
    )
    .map((parts) => parts.join("")),
  fc.constantFrom("a".repeat(5000), "*".repeat(300), `${"a.".repeat(130)}shop.test`, "", "localhost"),
  fc.domain(),
  fc.emailAddress(),
  fc.ipV4(),
  fc.ipV6(),
  fc.webUrl(),
);

const request = fc.record(
  {
    common_name: name,
    alt_names: fc.array(name, { maxLength: 3 }),
    ip_sans: fc.array(fc.oneof(fc.ipV4(), fc.ipV6(), name), { maxLength: 2 }),
    uri_sans: fc.array(fc.oneof(fc.webUrl(), name), { maxLength: 2 }),
    other_sans: fc.array(
      fc.oneof(
        name.map((value) => `1.2.3;UTF8:${value}`),
        name,
      ),
      { maxLength: 1 },
    ),
    serial_number: name,
    user_ids: fc.array(name, { maxLength: 1 }),
    exclude_cn_from_sans: fc.boolean(),
  },
  { requiredKeys: [] },
);

const roleFlags = fc.record({
  allow_bare_domains: fc.boolean(),
  allow_subdomains: fc.boolean(),
  allow_glob_domains: fc.boolean(),
  allow_any_name: fc.boolean(),
  allow_localhost: fc.boolean(),
  allow_wildcard_certificates: fc.boolean(),
  enforce_hostnames: fc.boolean(),
  allow_short_names: fc.boolean(),
  require_cn: fc.boolean(),
  allow_ip_sans: fc.boolean(),
  cn_validations: fc.constantFrom("disabled", "email", "hostname", "email,hostname"),
});

const REFUSALS = ["ROLE_REFUSED", "INPUT_INVALID", "CSR_INVALID"];

/** The certificate that came out; undefined for a refusal with a code; anything else is thrown on. */
async function leafOrRefusal(answer: Promise<JsonObject>): Promise<Certificate | undefined> {
  try {
    const [leaf = new Uint8Array()] = new IssueCertificateResponse(await answer).toCerts();
    return parseCertificate(leaf);
  } catch (error) {
    const isRefusal = error instanceof RksError && REFUSALS.includes(error.code);
    if (isRefusal && error.message.length < 2000) return undefined;
    throw error;
  }
}

/** DNS names and addresses that the role does not allow. */
function forbiddenNames(leaf: Certificate, role: JsonObject): string[] {
  const rules = parseRole(role);
  const isShort = (san: string): boolean =>
    rules.allow_short_names && leaf.dnsNames.some((full) => full.startsWith(`${san}.`));
  return [
    ...[...leaf.dnsNames, ...leaf.emails].filter(
      (san) => refusalOfName(san, rules) !== undefined && !isShort(san),
    ),
    ...leaf.ipAddresses.filter((address) => !address.startsWith("10.")),
    ...leaf.uris.filter((uri) => !matchesGlob("https://*", uri)),
    ...(leaf.isCa ? ["CA:TRUE"] : []),
  ];
}

test(
  "whatever names are asked for, the answer is a coded refusal or a certificate of allowed names, all of them",
  async () => {
    const { write } = await aPki();
    await write("root/generate/internal", { common_name: "Root", key_type: "ec", ttl: "87600h" });
    let issued = 0;
    await fc.assert(
      fc.asyncProperty(roleFlags, request, async (flags, asked) => {
        const written = {
          ...flags,
          key_type: "ec",
          no_store: true,
          allowed_domains: "shop.test,*.shop.test",
          allowed_ip_sans_cidr: ["10.0.0.0/8"],
          allowed_uri_sans: "https://*",
          allowed_other_sans: "1.2.3;UTF8:*",
          allowed_serial_numbers: "*",
          allowed_user_ids: "*",
        };
        await write("roles/web", written);
        const leaf = await leafOrRefusal(write("issue/web", asked));
        fc.pre(leaf !== undefined);
        issued += 1;
        const {
          alt_names: names = [],
          ip_sans: ips = [],
          uri_sans: uris = [],
          other_sans: others = [],
        } = asked;
        const given = (texts: readonly string[]) =>
          new Set(texts.map((text) => text.trim()).filter((text) => text !== ""));
        expect(forbiddenNames(leaf, written)).toEqual([]);
        // Nothing is dropped and nothing comes by itself but the common name.
        expect(new Set(leaf.ipAddresses)).toEqual(new Set([...given(ips)].map(canonicalIpAddress)));
        expect(new Set(leaf.uris)).toEqual(given(uris));
        expect(leaf.utf8OtherNames).toHaveLength(given(others).size);
        const wanted = [...given(names)].map((text) =>
          text.includes("@") ? text : (toDnsName(text) ?? text),
        );
        expect([...leaf.dnsNames, ...leaf.emails]).toEqual(expect.arrayContaining(wanted));
        expect(new Set([...leaf.dnsNames, ...leaf.emails]).size - new Set(wanted).size).toBeLessThanOrEqual(
          1,
        );
      }),
      { numRuns: RUNS, maxSkipsPerRun: 1000 },
    );
    expect(issued).toBeGreaterThan(RUNS - 1);
  },
  TIMEOUT_MS,
);

test(
  "a CSR of any names is signed by the same rules, with all of its names or not at all",
  async () => {
    const { write } = await aPki();
    await write("root/generate/internal", { common_name: "Root", key_type: "ec", ttl: "87600h" });
    const written = {
      key_type: "ec",
      no_store: true,
      require_cn: false,
      allowed_domains: "shop.test",
      allow_subdomains: true,
      allowed_ip_sans_cidr: ["10.0.0.0/8"],
    };
    await write("roles/web", written);
    const near = fc
      .oneof(fc.domain(), fc.string({ unit: fc.constantFrom("a", "b", ".", "*", "-", "_"), maxLength: 6 }))
      .map((label) => `${label}.shop.test`);
    const names = fc.record({
      dnsNames: fc.array(fc.oneof({ weight: 5, arbitrary: near }, fc.domain()), { maxLength: 2 }),
      emails: fc.array(
        fc.oneof(
          near.map((host) => `me@${host}`),
          fc.emailAddress(),
        ),
        { maxLength: 1 },
      ),
      ipAddresses: fc.array(fc.oneof(fc.ipV4(), fc.ipV6(), fc.constant("10.1.2.3")), { maxLength: 1 }),
    });
    await fc.assert(
      fc.asyncProperty(names, fc.oneof(near, fc.constant("")), async (asked, commonName) => {
        fc.pre(Object.values(asked).some((list) => list.length > 0));
        const csr = aCsr({ key, ...(commonName === "" ? {} : { commonName }), names: asked });
        const leaf = await leafOrRefusal(write("sign/web", { csr }));
        fc.pre(leaf !== undefined);
        const { requested } = parseCertificateRequest(decodePem(csr)[0]?.der ?? new Uint8Array());
        expect(forbiddenNames(leaf, written)).toEqual([]);
        expect(leaf.dnsNames).toEqual(expect.arrayContaining([...requested.dnsNames]));
        expect(leaf.emails).toEqual([...new Set(requested.emails)]);
        expect(leaf.ipAddresses).toEqual(requested.ipAddresses);
      }),
      { numRuns: RUNS / 2, maxSkipsPerRun: 1000 },
    );
  },
  TIMEOUT_MS,
);
