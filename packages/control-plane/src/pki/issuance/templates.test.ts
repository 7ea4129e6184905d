import { expect, test } from "vitest";
import { aPkiVault, type PkiVault } from "../testing/a-pki-vault.js";

/** Logs somebody in whom the vault knows by this name and metadata; the token. */
type LogIn = (name: string, metadata: Readonly<Record<string, string>>) => Promise<string>;

async function withLogins({ vault, root }: PkiVault): Promise<LogIn> {
  await vault.write(root, "sys/policies/acl/issue", {
    policy: 'path "pki/issue/*" { capabilities = ["update"] }',
  });
  await vault.write(root, "sys/auth/approle", { type: "approle" });
  return async (name, metadata) => {
    const role = `auth/approle/role/${name}`;
    await vault.write(root, role, { token_policies: "issue" });
    const roleId = (await vault.read(root, `${role}/role-id`))?.data?.["role_id"];
    const secretId = (await vault.write(root, `${role}/secret-id`, {}))?.data?.["secret_id"];
    const login = await vault.write("", "auth/approle/login", { role_id: roleId, secret_id: secretId });
    // The first login makes the entity.
    await vault.write(root, "identity/entity", { id: login?.auth?.entity_id, name, metadata });
    return login?.auth?.client_token ?? "";
  };
}

test("a name with the caller's identity in it is for that caller alone", async () => {
  await using pki = await aPkiVault();
  const logIn = await withLogins(pki);
  await pki.write("roles/own", {
    key_type: "ec",
    allowed_domains: "{{identity.entity.name}}.{{identity.entity.metadata.team}}.shop.test",
    allowed_domains_template: true,
    allow_bare_domains: true,
    allow_glob_domains: true,
  });
  const carol = await logIn("carol", { team: "tills" });
  const mallory = await logIn("mallory", { team: "*" });
  const issue = (token: string, name: string) =>
    pki.vault.write(token, "pki/issue/own", { common_name: name });
  await expect(issue(carol, "carol.tills.shop.test")).resolves.toHaveProperty("data.certificate");
  await expect(issue(mallory, "carol.tills.shop.test")).rejects.toMatchObject({ code: "ROLE_REFUSED" });
  await expect(issue(carol, "mallory.tills.shop.test")).rejects.toMatchObject({ code: "ROLE_REFUSED" });
  // GHSA-59w7-v8rr-pj4p
  await expect(issue(mallory, "mallory.tills.shop.test")).rejects.toMatchObject({ code: "ROLE_REFUSED" });
  await expect(issue(pki.root, "carol.tills.shop.test")).rejects.toMatchObject({ code: "ROLE_REFUSED" });
});

test("a name with the token's display name or metadata in it is for that token alone", async () => {
  await using pki = await aPkiVault();
  await pki.vault.write(pki.root, "sys/policies/acl/issue", {
    policy: 'path "pki/issue/*" { capabilities = ["update"] }',
  });
  const made = await pki.vault.write(pki.root, "auth/token/create", {
    policies: "issue",
    display_name: "till",
    meta: { shop: "eu" },
  });
  const token = made?.auth?.client_token ?? "";
  await pki.write("roles/own", {
    key_type: "ec",
    allowed_domains: "{{token.metadata.shop}}.shop.test",
    allowed_domains_template: true,
    allow_bare_domains: true,
    allow_token_displayname: true,
  });
  const issue = (common_name: string, alt_names = "") =>
    pki.vault.write(token, "pki/issue/own", { common_name, alt_names });
  await expect(issue("eu.shop.test", "token-till")).resolves.toHaveProperty("data.certificate");
  await expect(issue("us.shop.test")).rejects.toMatchObject({ code: "ROLE_REFUSED" });
  await expect(issue("token-tills")).rejects.toMatchObject({ code: "ROLE_REFUSED" });
});
