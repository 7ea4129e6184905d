import { X509Certificate } from "node:crypto";
import {
  BasicOCSPResponse,
  Certificate,
  CertificateChainValidationEngine,
  CertificateRevocationList,
  OCSPRequest,
  OCSPResponse,
} from "pkijs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { ScriptedVault } from "./harness/vault-scripts.js";

/** SHA-1, which every OCSP client can do (RFC 5019 §2.1.1), and what newer ones take. */
const CERT_ID_HASHES = ["SHA-1", "SHA-256"];
/** Of a single response: good [0], revoked [1], unknown [2] (RFC 6960 §4.2.1). */
const [GOOD, REVOKED] = [0, 1];

const issuedData = z.object({
  certificate: z.string(),
  serial_number: z.string(),
  ca_chain: z.array(z.string()),
});

let vault: ScriptedVault;
beforeAll(async () => {
  vault = await ScriptedVault.start();
});
afterAll(async () => {
  await vault?.[Symbol.asyncDispose]();
});

function parsed(pem: string): Certificate {
  return Certificate.fromBER(new X509Certificate(pem).raw);
}

/** What a certificate below an intermediate consists of, as pkijs reads it. */
interface Hierarchy {
  readonly root: Certificate;
  readonly intermediate: Certificate;
  readonly good: Certificate;
  readonly revoked: Certificate;
  /** The mount of the intermediate. */
  readonly mount: string;
}

/** A root, an intermediate in a mount of its own, and two leaves of that, one of them revoked. */
async function aHierarchy(keyType: string): Promise<Hierarchy> {
  const { api } = vault;
  const rootMount = await vault.mountWithRoot(`pkijs-${keyType}-root`, keyType);
  const mount = `pkijs-${keyType}`;
  await api.write(`sys/mounts/${mount}`, { type: "pki", config: { max_lease_ttl: "8000h" } });
  const { csr } = await api.write(`${mount}/intermediate/generate/internal`, {
    common_name: `${mount} intermediate`,
    key_type: keyType,
  });
  const signed = issuedData.parse(
    await api.write(`${rootMount}/root/sign-intermediate`, { csr, ttl: "4000h" }),
  );
  const chain = [signed.certificate, ...signed.ca_chain].join("\n");
  await api.write(`${mount}/intermediate/set-signed`, { certificate: chain });
  await api.write(`${mount}/roles/web`, {
    allowed_domains: "example.com",
    allow_subdomains: true,
    key_type: keyType,
    ttl: "24h",
  });
  const issue = async (name: string): Promise<z.output<typeof issuedData>> =>
    issuedData.parse(await api.write(`${mount}/issue/web`, { common_name: name }));
  const [good, revoked] = [await issue("good.example.com"), await issue("revoked.example.com")];
  await api.write(`${mount}/revoke`, { serial_number: revoked.serial_number });
  return {
    root: Certificate.fromBER(await api.bytes(`${rootMount}/ca`)),
    intermediate: Certificate.fromBER(await api.bytes(`${mount}/ca`)),
    good: parsed(good.certificate),
    revoked: parsed(revoked.certificate),
    mount,
  };
}

/** What the responder says of a certificate; asked for in the path of a GET. */
async function ocspAnswer(
  { mount, intermediate }: Hierarchy,
  leaf: Certificate,
  hash: string,
): Promise<BasicOCSPResponse> {
  const request = new OCSPRequest();
  await request.createForCertificate(leaf, { hashAlgorithm: hash, issuerCertificate: intermediate });
  const asked = Buffer.from(request.toSchema(true).toBER()).toString("base64");
  const answer = OCSPResponse.fromBER(await vault.api.bytes(`${mount}/ocsp/${encodeURIComponent(asked)}`));
  const content = answer.responseBytes?.response.valueBlock.valueHexView ?? new Uint8Array();
  return BasicOCSPResponse.fromBER(content);
}

/** It knows no Ed25519. */
describe.each(["ec", "rsa"])("pkijs, of what a mount with %s keys makes", (keyType) => {
  let made: Hierarchy;
  beforeAll(async () => {
    made = await aHierarchy(keyType);
  });

  test("a leaf and its chain are valid up to the root", async () => {
    const { root, intermediate, good } = made;
    expect(await good.verify(intermediate)).toBe(true);
    expect(await good.verify(root)).toBe(false);
    const engine = new CertificateChainValidationEngine({
      trustedCerts: [root],
      certs: [intermediate, good],
    });
    const { result, resultMessage, certificatePath } = await engine.verify();
    expect({ result, resultMessage }).toMatchObject({ result: true });
    expect(certificatePath).toHaveLength(3);
  });

  test("the revocation list is signed by the intermediate and has the revoked leaf alone", async () => {
    const { root, intermediate, good, revoked, mount } = made;
    const crl = CertificateRevocationList.fromBER(await vault.api.bytes(`${mount}/crl`));
    expect(await crl.verify({ issuerCertificate: intermediate })).toBe(true);
    expect(await crl.verify({ issuerCertificate: root })).toBe(false);
    expect([crl.isCertificateRevoked(good), crl.isCertificateRevoked(revoked)]).toEqual([false, true]);
    expect(crl.revokedCertificates).toHaveLength(1);
  });

  test.each(CERT_ID_HASHES)(
    "OCSP answers, asked with %s, are signed and say which leaf was revoked",
    async (hash) => {
      const { root, intermediate, good, revoked } = made;
      const trust = { trustedCerts: [intermediate, root] };
      const aboutGood = await ocspAnswer(made, good, hash);
      const aboutRevoked = await ocspAnswer(made, revoked, hash);
      expect(await aboutGood.verify(trust)).toBe(true);
      expect(await aboutRevoked.verify(trust)).toBe(true);
      expect(await aboutGood.getCertificateStatus(good, intermediate)).toEqual({
        isForCertificate: true,
        status: GOOD,
      });
      expect(await aboutRevoked.getCertificateStatus(revoked, intermediate)).toEqual({
        isForCertificate: true,
        status: REVOKED,
      });
      expect(await aboutGood.getCertificateStatus(revoked, intermediate)).toMatchObject({
        isForCertificate: false,
      });
    },
  );
});
