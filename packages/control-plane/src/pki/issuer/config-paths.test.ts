import { expect, test } from "vitest";
import { aPki } from "../testing/a-pki-backend.js";

const UNSET = {
  issuing_certificates: [],
  crl_distribution_points: [],
  delta_crl_distribution_points: [],
  ocsp_servers: [],
  enable_templating: false,
};

test("config/urls answers also when nothing is set, and keeps what a write leaves out", async () => {
  const pki = await aPki();
  expect(await pki.read("config/urls")).toEqual(UNSET);
  await pki.write("config/urls", { issuing_certificates: "http://a/ca,http://b/ca" });
  const data = await pki.write("config/urls", { ocsp_servers: ["http://o/"] });
  expect(data).toEqual({
    ...UNSET,
    issuing_certificates: ["http://a/ca", "http://b/ca"],
    ocsp_servers: ["http://o/"],
  });
  const reopened = await aPki({ storage: pki.storage });
  expect(await reopened.read("config/urls")).toEqual(data);
  expect(await pki.write("config/urls", { issuing_certificates: [] })).toMatchObject({
    issuing_certificates: [],
  });
});

test("writes of config/urls at once are all kept", async () => {
  const pki = await aPki();
  const fields = ["issuing_certificates", "crl_distribution_points", "ocsp_servers"];
  await Promise.all(fields.map((field) => pki.write("config/urls", { [field]: "http://x/" })));
  const reopened = await aPki({ storage: pki.storage });
  for (const field of fields) expect((await reopened.read("config/urls"))[field]).toEqual(["http://x/"]);
});

test.each([
  { ocsp_servers: "nonsense" },
  { ocsp_servers: "file:///etc/passwd" },
  { ocsp_servers: "http://bücher/" },
  { ocsp_servers: "http://a/{{issuer_id}}" },
  { ocsp_servers: `http://a/${"x".repeat(500)}` },
  { ocsp_servers: 7 },
  { enable_templating: "perhaps" },
])("config/urls refuses %j and stays as it was", async (fields) => {
  const pki = await aPki();
  await expect(pki.ask("update", "config/urls", fields)).rejects.toMatchObject({ code: "INPUT_INVALID" });
  expect(await pki.read("config/urls")).toEqual(UNSET);
});

test("config/cluster is kept, in parts too", async () => {
  const pki = await aPki();
  expect(await pki.read("config/cluster")).toEqual({ path: "", aia_path: "" });
  await pki.write("config/cluster", { path: "https://v.example/v1/pki" });
  await pki.write("config/cluster", { aia_path: "http://cdn.example/pki" });
  const reopened = await aPki({ storage: pki.storage });
  expect(await reopened.read("config/cluster")).toEqual({
    path: "https://v.example/v1/pki",
    aia_path: "http://cdn.example/pki",
  });
  await expect(pki.ask("update", "config/cluster", { path: "v.example" })).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
});

test("config/issuers answers when there is none, and takes only issuers that are there", async () => {
  const pki = await aPki();
  expect(await pki.read("config/issuers")).toEqual({ default: "", default_follows_latest_issuer: false });
  expect(await pki.write("config/issuers", { default_follows_latest_issuer: "true" })).toEqual({
    default: "",
    default_follows_latest_issuer: true,
  });
  for (const reference of ["", "default", "nobody"]) {
    await expect(
      pki.ask("update", "config/issuers", { default: reference, default_follows_latest_issuer: false }),
    ).rejects.toMatchObject({ code: "INPUT_INVALID" });
  }
  expect((await pki.read("config/issuers"))["default_follows_latest_issuer"]).toBe(true);
});

test("a default without a key is allowed, with a warning", async () => {
  const other = await aPki();
  const { certificate } = await other.write("root/generate/internal", { common_name: "O", key_type: "ec" });
  const pki = await aPki();
  await pki.write("root/generate/internal", { common_name: "R", key_type: "ec" });
  const { imported_issuers } = await pki.write("issuers/import/cert", { pem_bundle: certificate });
  const [id = ""] = imported_issuers as string[];
  const answer = await pki.ask("update", "config/issuers", { default: id });
  expect(answer).toMatchObject({ data: { default: id }, warnings: [expect.stringContaining("no key")] });
});
