import { parseCrl, revokedCertificates } from "@rk8s/x509";
import { expect, test } from "vitest";
import type { Operation } from "../../vault/backend.js";
import { aPkiVault, type PkiVault } from "../testing/a-pki-vault.js";

async function aVaultWithRole(): Promise<PkiVault> {
  const pki = await aPkiVault();
  await pki.write("roles/web", { key_type: "ec", allow_any_name: true, ttl: "24h" });
  return pki;
}

/** What becomes of a request without a token. */
async function codeWithoutToken(pki: PkiVault, operation: Operation, path: string): Promise<string> {
  try {
    await pki.vault.handle({ operation, path: `pki/${path}` });
    return "answered";
  } catch (error) {
    return (error as { readonly code?: string }).code ?? String(error);
  }
}

test("everyone may read certificates and lists and ask by OCSP, and nothing else of these", async () => {
  await using pki = await aVaultWithRole();
  const { serial_number: serial } = await pki.data("issue/web", { common_name: "a.example.com" });
  const lists = [
    "crl",
    "crl/pem",
    "crl/delta",
    "crl/delta/pem",
    "cert/crl",
    "cert/crl/raw",
    "cert/crl/raw/pem",
  ];
  const ofIssuer = ["", "/pem", "/der", "/delta", "/delta/pem", "/delta/der"];
  const open = [
    ...lists,
    "cert/delta-crl",
    "cert/delta-crl/raw",
    "cert/delta-crl/raw/pem",
    ...["", "/raw", "/raw/pem"].map((form) => `cert/${String(serial)}${form}`),
    ...ofIssuer.map((form) => `issuer/default/crl${form}`),
    "ocsp/dGVzdAo=",
  ];
  const opened = await Promise.all(open.map((path) => codeWithoutToken(pki, "read", path)));
  expect(opened.filter((code) => code === "PERMISSION_DENIED")).toEqual([]);
  expect(await codeWithoutToken(pki, "update", "ocsp")).toBe("answered");
  const closed: readonly (readonly [Operation, string])[] = [
    ["list", "certs"],
    ["list", "certs/detailed"],
    ["list", "certs/revoked"],
    ["read", "config/crl"],
    ["update", "config/crl"],
    ["read", "crl/rotate"],
    ["read", "crl/rotate-delta"],
    ["update", "revoke"],
    ["update", "revoke-with-key"],
    ["update", "tidy"],
    ["update", "tidy-cancel"],
    ["read", "tidy-status"],
    ["read", "config/auto-tidy"],
    ["update", "config/auto-tidy"],
    ["update", "issuer/default/resign-crls"],
    ["update", "issuer/default/sign-revocation-list"],
  ];
  const refused = await Promise.all(closed.map(([how, path]) => codeWithoutToken(pki, how, path)));
  expect(new Set(refused)).toEqual(new Set(["PERMISSION_DENIED"]));
});

test("revocations acknowledged while the mount is tuned are all in the list", async () => {
  await using pki = await aVaultWithRole();
  const serials: string[] = [];
  for (let i = 0; i < 60; i += 1) {
    serials.push(String((await pki.data("issue/web", { common_name: "a.example.com" }))["serial_number"]));
  }
  const outcomes = Promise.allSettled(serials.map((serial_number) => pki.write("revoke", { serial_number })));
  await pki.vault.write(pki.root, "sys/mounts/pki/tune", { max_lease_ttl: "80000h" });
  const settled = await outcomes;
  const acknowledged = serials.filter((_, index) => settled[index]?.status === "fulfilled");
  await Promise.all(
    serials
      .filter((one) => !acknowledged.includes(one))
      .map((one) => pki.write("revoke", { serial_number: one })),
  );
  const answer = await pki.vault.answer({ operation: "read", path: "pki/crl" });
  const body = answer?.raw?.body;
  const inList = body instanceof Uint8Array ? [...revokedCertificates(parseCrl(body))] : [];
  const found = inList.map(({ serialNumber }) => serialNumber.match(/../g)?.join(":") ?? "");
  expect(found.toSorted()).toEqual(serials.toSorted());
});

test("a certificate's lease revokes it when it is revoked", async () => {
  await using pki = await aVaultWithRole();
  await pki.write("roles/leased", { key_type: "ec", allow_any_name: true, ttl: "24h", generate_lease: true });
  const issued = await pki.write("issue/leased", { common_name: "a.example.com" });
  const serial = String(issued?.data?.["serial_number"]);
  await pki.vault.write(pki.root, "sys/leases/revoke", { lease_id: issued?.lease_id ?? "" });
  const answer = await pki.vault.handle({ operation: "read", path: `pki/cert/${serial}` });
  expect(answer?.data?.["revocation_time"]).toBeGreaterThan(0);
});
