import { spawnSync } from "node:child_process";
import { constants, generateKeyPairSync, sign, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import { assembleCertificate, buildTbsCertificate, parseCertificate } from "./certificate.js";
import { DerReader } from "./der-reader.js";
import { encodeName } from "./name.js";
import { OID } from "./oids.js";
import { encodeSignatureAlgorithm, readSignatureAlgorithm } from "./signature-algorithm.js";

/** RSA keys take a while to make, more so on a busy machine. */
const RSA_TIMEOUT_MS = 30_000;
const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const name = encodeName([{ type: OID.commonName, value: "pss" }]);

function openssl(input: Uint8Array | undefined, ...args: readonly string[]): string {
  const { stdout, stderr } = spawnSync("openssl", args, { input, encoding: "utf8" });
  return stdout + stderr;
}

test.each([
  { algorithm: "rsa-pss-sha256", hash: "sha256", salt: 32 },
  { algorithm: "rsa-pss-sha384", hash: "sha384", salt: 48 },
  { algorithm: "rsa-pss-sha512", hash: "sha512", salt: 64 },
] as const)(
  "openssl and node:crypto verify a certificate signed with $algorithm, and openssl's own is recognised",
  ({ algorithm, hash, salt }) => {
    const signatureAlgorithm = encodeSignatureAlgorithm(algorithm);
    const tbs = buildTbsCertificate({
      serialNumber: Uint8Array.of(1),
      signatureAlgorithm,
      issuer: name,
      notBefore: Date.UTC(2026, 0, 1),
      notAfter: Date.UTC(2099, 0, 1),
      subject: name,
      spki: publicKey.export({ type: "spki", format: "der" }),
      extensions: [],
    });
    const signature = sign(hash, tbs, {
      key: privateKey,
      padding: constants.RSA_PKCS1_PSS_PADDING,
      saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
    });
    const der = assembleCertificate(tbs, signatureAlgorithm, signature);
    const text = openssl(der, "x509", "-inform", "DER", "-noout", "-text").replaceAll(/\s+/g, " ");
    expect(text).toContain(
      `Signature Algorithm: rsassaPss Hash Algorithm: ${hash} Mask Algorithm: mgf1 with ${hash} Salt Length: 0x${salt.toString(16).toUpperCase()} Trailer Field: 0x01`,
    );
    expect(new X509Certificate(der).verify(publicKey)).toBe(true);
    expect(parseCertificate(der).signatureAlgorithm).toMatchObject({ name: undefined, rsaPss: algorithm });

    const folder = mkdtempSync(path.join(tmpdir(), "rk8s-pss-"));
    try {
      const trust = path.join(folder, "pss.pem");
      writeFileSync(trust, new X509Certificate(der).toString());
      expect(openssl(undefined, "verify", "-check_ss_sig", "-CAfile", trust, trust)).toContain(": OK");
      const key = path.join(folder, "pss.key");
      const out = path.join(folder, "own.der");
      writeFileSync(key, privateKey.export({ type: "pkcs8", format: "pem" }));
      const pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"];
      openssl(
        undefined,
        "req",
        "-x509",
        "-key",
        key,
        "-subj",
        "/CN=x",
        `-${hash}`,
        ...pss,
        "-outform",
        "DER",
        "-out",
        out,
      );
      expect(parseCertificate(new Uint8Array(readFileSync(out))).signatureAlgorithm).toMatchObject({
        rsaPss: algorithm,
        der: signatureAlgorithm,
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
  RSA_TIMEOUT_MS,
);

test.each([
  { name: "SHA-1 by default", hex: "300d06092a864886f70d01010a3000" },
  { name: "no parameters", hex: "300b06092a864886f70d01010a" },
  {
    name: "SHA-256 with a salt of 20 bytes",
    hex: "304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020114",
  },
  {
    name: "SHA-256 with MGF1 of SHA-512",
    hex: "304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402030500a203020120",
  },
])("RSASSA-PSS with other parameters is carried, not recognised: $name", ({ hex }) => {
  const reader = DerReader.over(Buffer.from(hex, "hex"), { code: "CERTIFICATE_INVALID" });
  expect(readSignatureAlgorithm(reader)).toMatchObject({
    oid: OID.rsaPss,
    name: undefined,
    rsaPss: undefined,
  });
});

test("RSASSA-PSS is recognised with hashes that leave NULL out", () => {
  const hex =
    "303d06092a864886f70d01010a3030a00d300b0609608648016503040201a11a301806092a864886f70d010108300b0609608648016503040201a203020120";
  const reader = DerReader.over(Buffer.from(hex, "hex"), { code: "CERTIFICATE_INVALID" });
  expect(readSignatureAlgorithm(reader).rsaPss).toBe("rsa-pss-sha256");
});
