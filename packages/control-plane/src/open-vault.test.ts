import { X509Certificate } from "node:crypto";
import { memoryStorage } from "@rk8s/storage";
import { expect, test } from "vitest";
import { openVault } from "./open-vault.js";
import type { RootGenerateRequest } from "./pki/authority/ca-fields.js";
import type { IssueCertificateRequest } from "./pki/requests.js";

test("a program initialises a vault, makes a root and a role, and issues a certificate", async () => {
  await using storage = memoryStorage();
  await using vault = await openVault({ storage });
  const { shares, rootToken } = await vault.init({ shares: 1, threshold: 1 });
  await vault.unseal(shares[0]!);
  await vault.write(rootToken, "sys/mounts/pki", { type: "pki" });
  const root: RootGenerateRequest = { common_name: "Demo Root CA", ttl: "8760h" };
  await vault.write(rootToken, "pki/root/generate/internal", { ...root });
  await vault.write(rootToken, "pki/roles/web", {
    allowed_domains: "example.org",
    allow_subdomains: true,
    ttl: "24h",
  });
  const request: IssueCertificateRequest = { common_name: "www.example.org", ttl: "12h" };
  const issued = await vault.write(rootToken, "pki/issue/web", { ...request });
  const certificate = new X509Certificate(String(issued?.data?.["certificate"]));
  expect(certificate.subjectAltName).toContain("DNS:www.example.org");
});
