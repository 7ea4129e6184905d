import { createPrivateKey, X509Certificate } from "node:crypto";
import { expect, test } from "vitest";
import { aPki, TEST_PREFIX } from "../testing/a-pki-backend.js";
import { hasOpenssl, openssl } from "../testing/openssl.js";

const skipped = hasOpenssl ? "" : "SKIPPED (needs openssl): ";

test("keys are made, read, renamed, listed and deleted, and never read in private", async () => {
  const pki = await aPki();
  await expect(pki.ask("list", "keys")).resolves.toBeUndefined();
  const made = await pki.write("keys/generate/internal", { key_type: "ec", key_name: "a" });
  expect(made).toEqual({
    key_id: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
    key_name: "a",
    key_type: "ec",
    key_bits: 256,
    subject_key_id: expect.stringMatching(/^[0-9a-f]{2}(:[0-9a-f]{2}){19}$/) as string,
  });
  expect(await pki.read("key/a")).toEqual(made);
  expect(await pki.read("key/default")).toEqual(made);
  expect((await pki.ask("list", "keys"))?.data).toEqual({
    keys: [made["key_id"]],
    key_info: { [String(made["key_id"])]: { key_name: "a", is_default: true } },
  });
  expect(await pki.write("key/a", { key_name: "b" })).toMatchObject({ key_name: "b" });
  await expect(pki.ask("read", "key/a")).resolves.toBeUndefined();
  const reopened = await aPki({ storage: pki.storage });
  expect(await reopened.read("key/b")).toEqual({ ...made, key_name: "b" });
  expect((await pki.ask("delete", "key/b"))?.warnings?.[0]).toContain("was the default");
  expect(await pki.read("config/keys")).toEqual({ default: "" });
  expect((await pki.storage.list(`${TEST_PREFIX}private-keys/`)).entries).toEqual([]);
  await expect(pki.ask("delete", "key/b")).resolves.toBeUndefined();
});

test("an exported key is answered once, as it is kept", async () => {
  const pki = await aPki();
  const made = await pki.write("keys/generate/exported", { key_type: "ed25519", key_name: "k" });
  expect(made).toMatchObject({ key_type: "ed25519", private_key_type: "ed25519" });
  const { certificate } = await pki.write("root/generate/existing", { common_name: "R", key_ref: "k" });
  const key = createPrivateKey(String(made["private_key"]));
  expect(new X509Certificate(String(certificate)).checkPrivateKey(key)).toBe(true);
});

test.skipIf(!hasOpenssl)(`${skipped}the identifier of a key is the one in its certificates`, async () => {
  const pki = await aPki();
  const { key_id, certificate } = await pki.write("root/generate/internal", {
    common_name: "R",
    key_type: "ec",
  });
  const { subject_key_id } = await pki.read(`key/${String(key_id)}`);
  const text = openssl(["x509", "-in", "c.pem", "-noout", "-ext", "subjectKeyIdentifier"], {
    "c.pem": String(certificate),
  });
  expect(text.toLowerCase()).toContain(subject_key_id);
});

test("a key that an issuer has cannot be deleted", async () => {
  const pki = await aPki();
  const { key_id, issuer_id } = await pki.write("root/generate/internal", {
    common_name: "R",
    key_type: "ec",
  });
  await expect(pki.ask("delete", `key/${String(key_id)}`)).rejects.toMatchObject({
    code: "INPUT_INVALID",
    message: expect.stringContaining(String(issuer_id)) as string,
  });
  await pki.ask("delete", "issuer/default");
  await pki.ask("delete", `key/${String(key_id)}`);
  await expect(pki.ask("list", "keys")).resolves.toBeUndefined();
});

test("the default key is what existing means, and can be chosen", async () => {
  const pki = await aPki();
  await pki.write("keys/generate/internal", { key_type: "ec", key_name: "a" });
  const b = await pki.write("keys/generate/internal", { key_type: "ec", key_name: "b" });
  expect(await pki.write("config/keys", { default: "b" })).toEqual({ default: b["key_id"] });
  expect(await pki.write("root/generate/existing", { common_name: "R" })).toMatchObject({ key_name: "b" });
  for (const reference of ["", "default", "nobody"]) {
    await expect(pki.ask("update", "config/keys", { default: reference })).rejects.toMatchObject({
      code: "INPUT_INVALID",
    });
  }
});

test.each([
  { path: "keys/generate/kms", data: {} },
  { path: "keys/generate/other", data: {} },
  { path: "keys/generate/internal", data: { key_type: "ec", key_bits: 128 } },
  { path: "keys/generate/internal", data: { key_type: "ec", key_name: "default" } },
  { path: "keys/import", data: {} },
  { path: "key/nobody", data: { key_name: "x" } },
])("$path with $data is refused", async ({ path, data }) => {
  const pki = await aPki();
  await expect(pki.ask("update", path, data)).rejects.toMatchObject({ code: "INPUT_INVALID" });
  expect((await pki.storage.list("")).entries).toEqual([]);
});
