import { expect, test } from "vitest";
import { aPki } from "../testing/a-pki-backend.js";

const NO_ISSUER = expect.stringContaining("no default issuing certificate") as string;

test("a role is written with OpenBao's defaults and read with JSON's own types", async () => {
  const { ask } = await aPki();
  const written = await ask("update", "roles/web", {
    name: "web",
    ttl: "24h",
    max_ttl: "720h",
    key_type: "ec",
    allowed_domains: "a.test,b.test",
    allow_subdomains: "true",
  });
  expect(written?.warnings).toEqual([NO_ISSUER]);
  const read = await ask("read", "roles/web");
  expect(read?.data).toEqual(written?.data);
  expect(JSON.parse(JSON.stringify(read?.data))).toMatchObject({
    ttl: 86_400,
    max_ttl: 2_592_000,
    not_before_duration: 30,
    key_type: "ec",
    key_bits: 256,
    signature_bits: 0,
    allowed_domains: ["a.test", "b.test"],
    allow_subdomains: true,
    key_usage: ["DigitalSignature", "KeyAgreement", "KeyEncipherment"],
    ext_key_usage: [],
    allowed_ip_sans_cidr: [],
    policy_identifiers: [],
    issuer_ref: "default",
    generate_lease: false,
    not_after: "",
    not_before_bound: "permit",
  });
  expect(read?.data).not.toHaveProperty("name");
});

test("what no role has is ignored with a warning, and a rewrite forgets what it leaves out", async () => {
  const { ask, write, read } = await aPki();
  await write("root/generate/internal", { common_name: "Root" });
  const first = await ask("update", "roles/web", { allowed_ip_sans: "10.0.0.0/8", colour: "red", ttl: "1h" });
  expect(first?.warnings).toEqual([
    "Endpoint ignored these unrecognized parameters: [allowed_ip_sans colour]",
  ]);
  await write("roles/web", { allow_any_name: true });
  expect(await read("roles/web")).toMatchObject({ ttl: 0, allow_any_name: true });
});

test("a patch changes what it names, null gives the default, and the rest stays", async () => {
  const { ask, write, read } = await aPki();
  await write("root/generate/internal", { common_name: "Root" });
  await write("roles/web", {
    ttl: "1h",
    max_ttl: "2h",
    allowed_domains: "a.test",
    key_type: "ec",
    key_bits: 384,
  });
  const patched = await ask("patch", "roles/web", { ttl: "30m", allowed_domains: null, colour: "red" });
  expect(patched?.data).toMatchObject({ ttl: 1800, max_ttl: 7200, allowed_domains: [], key_bits: 384 });
  expect(patched?.data).toEqual(await read("roles/web"));
  expect(patched?.data).not.toHaveProperty("colour");
  expect(patched?.warnings).toEqual(["Endpoint ignored these unrecognized parameters: [colour]"]);
  await expect(ask("patch", "roles/web", { ttl: "3h" })).rejects.toMatchObject({ code: "INPUT_INVALID" });
  await expect(ask("patch", "roles/other", { ttl: "3h" })).rejects.toMatchObject({ code: "INPUT_INVALID" });
  expect(await read("roles/web")).toMatchObject({ ttl: 1800 });
  await expect(ask("read", "roles/other")).resolves.toBeUndefined();
});

test("of two patches at once none is lost silently", async () => {
  const { ask, write, read } = await aPki();
  await write("roles/web", {});
  const results = await Promise.allSettled([
    ask("patch", "roles/web", { ttl: 60 }),
    ask("patch", "roles/web", { max_ttl: 120 }),
  ]);
  const role = await read("roles/web");
  const applied = [role["ttl"] === 60, role["max_ttl"] === 120];
  const outcomes = results.map((result) =>
    result.status === "fulfilled" ? "written" : (result.reason as { code?: string }).code,
  );
  expect(outcomes).toEqual(applied.map((isApplied) => (isApplied ? "written" : "CONFLICT")));
});

test("roles are listed in order and in pages; none is nothing", async () => {
  const { ask, write } = await aPki();
  await expect(ask("list", "roles")).resolves.toBeUndefined();
  for (const name of ["c", "a", "b.x", "b"]) await write(`roles/${name}`, {});
  expect((await ask("list", "roles"))?.data).toEqual({ keys: ["a", "b", "b.x", "c"] });
  expect((await ask("list", "roles", { after: "a", limit: "2" }))?.data).toEqual({ keys: ["b", "b.x"] });
  await ask("delete", "roles/b");
  await ask("delete", "roles/b");
  expect((await ask("list", "roles"))?.data).toEqual({ keys: ["a", "b.x", "c"] });
});

test("a role names its issuer by use: one that is not there gives a warning only", async () => {
  const { ask, write } = await aPki();
  await write("root/generate/internal", { common_name: "Root", issuer_name: "first" });
  const warnings = async (data: object) => (await ask("update", "roles/web", data))?.warnings;
  expect(await warnings({ issuer_ref: "first" })).toEqual([]);
  expect(await warnings({})).toEqual([]);
  expect(await warnings({ issuer_ref: "second" })).toEqual([
    "Issuing Certificate was set to second but no issuing certificate currently has that name",
  ]);
  await expect(ask("update", "issue/web", { common_name: "localhost" })).rejects.toMatchObject({
    code: "INPUT_INVALID",
    message: expect.stringContaining("second") as string,
  });
});

test.each(["", ".hidden", "a/b", "a".repeat(129), "a\u0000", "ä", "a."])(
  "the role name %j is refused",
  async (name) => {
    const { ask } = await aPki();
    const answer = ask("update", `roles/${name}`, {}).then(
      (found) => (found === undefined ? "nothing" : "written"),
      (error: unknown) => (error as { code?: string }).code,
    );
    expect(["INPUT_INVALID", "nothing"]).toContain(await answer);
  },
);
