import { encodeExtendedKeyUsage, encodeKeyUsage, OID } from "@rk8s/x509";
import { expect, test } from "vitest";
import type { JsonObject } from "../../vault/backend.js";
import { aCsr, aKey } from "../testing/a-csr.js";
import { aPki, TEST_NOW_MS } from "../testing/a-pki-backend.js";
import { certificateText, hasOpenssl, openssl, verifyChain } from "../testing/openssl.js";

/** RSA keys take a while to make, more so on a busy machine. */
const TIMEOUT_MS = 60_000;
const key = aKey("ec");

interface Artefact {
  readonly name: string;
  readonly root?: JsonObject;
  readonly role: JsonObject;
  readonly path: string;
  readonly request: JsonObject;
  /** What `openssl x509 -text` says. */
  readonly says: readonly string[];
}

const csr = aCsr({
  key,
  commonName: "v.test",
  names: { dnsNames: ["v.test"], emails: ["x@v.test"] },
  extensions: [encodeKeyUsage(["digitalSignature"]), encodeExtendedKeyUsage([OID.codeSigning])],
});

test.skipIf(!hasOpenssl).each<Artefact>([
  {
    name: "a leaf with everything",
    role: {
      organization: "Shop",
      ou: "Tills",
      allowed_serial_numbers: "*",
      allowed_user_ids: "*",
      allowed_other_sans: "*",
      allowed_uri_sans: "*",
      policy_identifiers: [{ oid: "1.2.3.4", notice: "Only for tills" }],
      basic_constraints_valid_for_non_ca: true,
    },
    path: "issue/web",
    request: {
      common_name: "a.test",
      alt_names: "b.test,*.c.test,me@a.test",
      ip_sans: "10.0.0.1,2001:db8::1,::ffff:10.0.0.2",
      uri_sans: "spiffe://x/y",
      other_sans: "1.3.6.1.4.1.311.20.2.3;UTF8:mé@a.test",
      serial_number: "SN-7",
      user_ids: "carol",
    },
    says: [
      "O = Shop, OU = Tills, CN = a.test, serialNumber = SN-7, UID = carol",
      "DNS:a.test, DNS:b.test, DNS:*.c.test, email:me@a.test, IP Address:10.0.0.1, IP Address:2001:DB8:0:0:0:0:0:1, IP Address:10.0.0.2, URI:spiffe://x/y",
      "othername:",
      "CA:FALSE",
      "Digital Signature, Key Encipherment, Key Agreement",
      "TLS Web Server Authentication, TLS Web Client Authentication",
      "Policy: 1.2.3.4",
      "Only for tills",
    ],
  },
  {
    name: "a leaf without a common name",
    role: { require_cn: false },
    path: "issue/web",
    request: { alt_names: "a.test" },
    says: ["Subject: \n", "X509v3 Subject Alternative Name: critical"],
  },
  {
    name: "a leaf of an RSA issuer with PSS",
    root: { key_type: "rsa" },
    role: { use_pss: true, signature_bits: 384 },
    path: "issue/web",
    request: { common_name: "a.test" },
    says: ["Signature Algorithm: rsassaPss", "Hash Algorithm: sha384", "Salt Length: 0x30"],
  },
  {
    name: "a leaf with an RSA key",
    role: { key_type: "rsa", key_bits: 2048 },
    path: "issue/web",
    request: { common_name: "a.test", private_key_format: "pkcs8" },
    says: ["Public-Key: (2048 bit)"],
  },
  {
    name: "a leaf with an Ed25519 key and usages of its own",
    role: {
      key_type: "ed25519",
      server_flag: false,
      client_flag: false,
      ext_key_usage: "IPSECUser,OCSPSigning",
    },
    path: "issue/web",
    request: { common_name: "a.test" },
    says: ["ED25519", "OCSP Signing", "IPSec User"],
  },
  {
    name: "a leaf with a P-521 key",
    role: { key_bits: 521 },
    path: "issue/web",
    request: { common_name: "a.test" },
    says: ["NIST CURVE: P-521"],
  },
  {
    name: "a signed request",
    role: {},
    path: "sign/web",
    request: { csr },
    says: ["CN = v.test", "DNS:v.test, email:x@v.test", "TLS Web Server Authentication"],
  },
  {
    name: "a request signed verbatim",
    role: {},
    path: "sign-verbatim/web",
    request: { csr },
    says: ["CN = v.test", "DNS:v.test, email:x@v.test", "Code Signing"],
  },
  {
    name: "a leaf until the end of time",
    root: { not_after: "9999-12-31T23:59:59Z", ttl: 0 },
    role: {},
    path: "issue/web",
    request: { common_name: "a.test", not_after: "9999-12-31T23:59:59Z", not_before: "2026-01-01T00:00:00Z" },
    says: ["Not After : Dec 31 23:59:59 9999 GMT"],
  },
])(
  "openssl verifies and reads $name",
  async ({ root, role, path, request, says }) => {
    const { write } = await aPki();
    await write("root/generate/internal", { common_name: "Root", key_type: "ec", ttl: "87600h", ...root });
    await write("roles/web", { key_type: "ec", allow_any_name: true, ...role });
    const data = await write(path, request);
    const { certificate: leaf, issuing_ca: issuer } = data;
    expect(verifyChain({ leaf, root: issuer, atMs: TEST_NOW_MS })).toContain("OK");
    const text = certificateText(leaf);
    expect(says.filter((part) => !text.includes(part))).toEqual([]);
    const made = data["private_key"];
    const own = key.privateKey.export({ type: "pkcs8", format: "pem" }).toString().trimEnd();
    const files = {
      "key.pem": typeof made === "string" ? made : own,
      "leaf.pem": String(leaf),
    };
    expect(openssl(["pkey", "-in", "key.pem", "-check", "-pubout"], files)).toContain(
      openssl(["x509", "-in", "leaf.pem", "-noout", "-pubkey"], files).trim(),
    );
  },
  TIMEOUT_MS,
);
