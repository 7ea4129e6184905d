import { expect, test } from "vitest";

import { VERSION } from "../../version.js";
import { anUnsealedVault, echoBackend } from "../testing/unsealed-vault.js";

const init = { backends: { echo: echoBackend, kv: echoBackend }, loginMethods: { echo: echoBackend } };

test("a mount is described with every member that clients read", async () => {
  await using subject = await anUnsealedVault(init);
  const { vault, root } = subject;
  await vault.write(root, "sys/mounts/a", {
    type: "echo",
    description: "mine",
    local: true,
    options: { version: 2, deep: true },
    config: {
      default_lease_ttl: "1h",
      max_lease_ttl: "",
      force_no_cache: "true",
      listing_visibility: "unauth",
      audit_non_hmac_request_keys: ["csr", "common_name"],
      audit_non_hmac_response_keys: "certificate,serial_number",
      passthrough_request_headers: ["X-A"],
      allowed_response_headers: null,
      options: null,
    },
  });
  const data = (await vault.read(root, "sys/mounts/a"))?.data;
  expect(data).toEqual({
    type: "echo",
    description: "mine",
    accessor: expect.stringMatching(/^echo_[0-9a-f]{8}$/),
    uuid: expect.stringMatching(/^[0-9a-f-]{36}$/),
    local: true,
    seal_wrap: false,
    external_entropy_access: false,
    options: { version: "2", deep: "true" },
    plugin_version: "",
    running_plugin_version: `v${VERSION}+builtin.rks`,
    running_sha256: "",
    config: {
      default_lease_ttl: 3600,
      max_lease_ttl: 0,
      force_no_cache: true,
      audit_non_hmac_request_keys: ["csr", "common_name"],
      audit_non_hmac_response_keys: ["certificate", "serial_number"],
      passthrough_request_headers: ["X-A"],
      listing_visibility: "unauth",
    },
  });
  expect((await vault.read(root, "sys/mounts/a/tune"))?.data).toMatchObject({
    default_lease_ttl: 3600,
    max_lease_ttl: 768 * 3600,
    force_no_cache: true,
    listing_visibility: "unauth",
    options: { version: "2", deep: "true" },
  });
});

test("lists of mounts have the system's and the tokens' and members at the top as well", async () => {
  await using subject = await anUnsealedVault(init);
  const { vault, root } = subject;
  const secrets = await vault.answer({ operation: "read", path: "sys/mounts", clientToken: root });
  expect(secrets?.form).toBe("repeated");
  expect(secrets?.response.data).toHaveProperty("sys/");
  expect((await vault.read(root, "sys/auth"))?.data).toMatchObject({
    "token/": { type: "token", config: { token_type: "default-service" } },
  });
});

test.each([
  { name: "nothing", body: {}, expected: { default_lease_ttl: 3600, max_lease_ttl: 7200 } },
  {
    name: "null",
    body: { default_lease_ttl: null, description: null },
    expected: { default_lease_ttl: 3600, max_lease_ttl: 7200, description: "d" },
  },
  {
    name: "empty text for lifetimes",
    body: { default_lease_ttl: "", max_lease_ttl: "" },
    expected: { default_lease_ttl: 3600, max_lease_ttl: 7200 },
  },
  {
    name: "-1, the system's",
    body: { default_lease_ttl: -1, max_lease_ttl: "-1" },
    expected: { default_lease_ttl: 2_764_800, max_lease_ttl: 2_764_800 },
  },
  {
    name: "system",
    body: { default_lease_ttl: "system" },
    expected: { default_lease_ttl: 7200, max_lease_ttl: 7200 },
  },
  { name: "a text", body: { description: "new" }, expected: { description: "new" } },
  { name: "an empty description", body: { description: "" }, expected: { description: "" } },
  {
    name: "empty lists",
    body: { audit_non_hmac_request_keys: [], audit_non_hmac_response_keys: "" },
    expected: { audit_non_hmac_request_keys: [], audit_non_hmac_response_keys: [] },
  },
  {
    name: "a hundred years",
    body: { max_lease_ttl: "876000h" },
    expected: { max_lease_ttl: 876_000 * 3600 },
  },
  { name: "the same options", body: { options: { version: 1 } }, expected: { options: { version: "1" } } },
])("tuning with $name", async ({ body, expected }) => {
  await using subject = await anUnsealedVault(init);
  const { vault, root } = subject;
  await vault.write(root, "sys/mounts/a", {
    type: "kv-v1",
    description: "d",
    config: { default_lease_ttl: "1h", max_lease_ttl: "2h" },
  });
  expect(await vault.write(root, "sys/mounts/a/tune", body)).toBeUndefined();
  expect((await vault.read(root, "sys/mounts/a/tune"))?.data).toMatchObject(expected);
});

test.each([
  { name: "a negative lifetime", body: { max_lease_ttl: -5 } },
  { name: "ten thousand years", body: { max_lease_ttl: "87600000h" } },
  { name: "a default above the longest", body: { default_lease_ttl: "3h" } },
  { name: "a longest below the default", body: { max_lease_ttl: 60 } },
  { name: "an unknown visibility", body: { listing_visibility: "public" } },
  { name: "a token type for a secrets engine", body: { token_type: "batch" } },
  { name: "a plugin version", body: { plugin_version: "v1.2.3" } },
  { name: "another option", body: { options: { version: "2" } } },
  { name: "a number as description", body: { description: 7 } },
  { name: "a list of numbers", body: { audit_non_hmac_request_keys: [1] } },
])("tuning with $name is refused and changes nothing", async ({ body }) => {
  await using subject = await anUnsealedVault(init);
  const { vault, root } = subject;
  const config = { default_lease_ttl: "1h", max_lease_ttl: "2h" };
  await vault.write(root, "sys/mounts/a", { type: "kv", options: { version: "1" }, config });
  const before = (await vault.read(root, "sys/mounts/a"))?.data;
  await expect(vault.write(root, "sys/mounts/a/tune", body)).rejects.toMatchObject({ code: "INPUT_INVALID" });
  expect((await vault.read(root, "sys/mounts/a"))?.data).toEqual(before);
});

test("a default lifetime beyond the system's longest needs a longest of its own", async () => {
  await using subject = await anUnsealedVault(init);
  const { vault, root } = subject;
  const config = { default_lease_ttl: "9000h" };
  await expect(vault.write(root, "sys/mounts/a", { type: "echo", config })).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
  await vault.write(root, "sys/mounts/a", { type: "echo", config: { ...config, max_lease_ttl: "9000h" } });
});

test("a login method is tuned at both of its paths", async () => {
  await using subject = await anUnsealedVault(init);
  const { vault, root } = subject;
  await vault.write(root, "sys/auth/l", { type: "echo", config: { token_type: "batch" } });
  await vault.write(root, "sys/auth/l/tune", { max_lease_ttl: "1h" });
  await vault.write(root, "sys/mounts/auth/l/tune", { token_type: "default-batch" });
  const expected = { max_lease_ttl: 3600, token_type: "default-batch" };
  expect((await vault.read(root, "sys/auth/l/tune"))?.data).toMatchObject(expected);
  expect((await vault.read(root, "sys/mounts/auth/l/tune"))?.data).toMatchObject(expected);
  await vault.delete(root, "sys/auth/l");
  await expect(vault.read(root, "sys/auth/l")).rejects.toThrow("No auth engine at l/");
});

test("reading a mount that is not there says so in the words that Terraform's provider looks for", async () => {
  await using subject = await anUnsealedVault(init);
  const read = subject.vault.read(subject.root, "sys/mounts/gone");
  await expect(read).rejects.toMatchObject({
    code: "INPUT_INVALID",
    message: "No secret engine mount at gone/",
  });
});

test("kv-v2, generic and plugin names are other spellings of a type", async () => {
  await using subject = await anUnsealedVault(init);
  const { vault, root } = subject;
  await vault.write(root, "sys/mounts/a", { type: "kv-v2" });
  await vault.write(root, "sys/mounts/b", { type: "generic" });
  await vault.write(root, "sys/mounts/c", { type: "plugin", plugin_name: "kv" });
  expect((await vault.read(root, "sys/mounts"))?.data).toMatchObject({
    "a/": { type: "kv", options: { version: "2" } },
    "b/": { type: "kv", options: { version: "1" } },
    "c/": { type: "kv", options: null },
  });
});

test("what has no effect is said, not swallowed", async () => {
  await using subject = await anUnsealedVault(init);
  const answer = await subject.vault.write(subject.root, "sys/mounts/a", {
    type: "echo",
    seal_wrap: true,
    config: { allowed_managed_keys: ["k"] },
  });
  expect(answer?.warnings).toEqual([
    expect.stringContaining("allowed_managed_keys"),
    expect.stringContaining("seal_wrap has no effect"),
  ]);
});

test("login methods take sudo besides the policy; a mount below auth/ is not made by way of sys/mounts", async () => {
  await using subject = await anUnsealedVault(init);
  const { vault, root, tokenWith } = subject;
  const all = `"create", "read", "update", "delete"`;
  await vault.write(root, "sys/policies/acl/p", { policy: `path "sys/*" { capabilities = [${all}] }` });
  const token = await tokenWith({ policies: ["p"] });
  const denied = { code: "PERMISSION_DENIED" };
  await expect(vault.write(token, "sys/auth/l", { type: "echo" })).rejects.toMatchObject(denied);
  await expect(vault.delete(token, "sys/auth/l")).rejects.toMatchObject(denied);
  await expect(vault.write(token, "sys/remount", { from: "a", to: "b" })).rejects.toMatchObject(denied);
  const refused = { code: "INPUT_INVALID" };
  await expect(vault.write(token, "sys/mounts/auth/l", { type: "echo" })).rejects.toMatchObject(refused);
  await expect(vault.delete(token, "sys/mounts/auth/token")).rejects.toMatchObject(refused);
});

test("descriptions that together are too long for the table are refused, and the table stays whole", async () => {
  await using subject = await anUnsealedVault(init);
  const { vault, root } = subject;
  const description = "x".repeat(16_000);
  const results: PromiseSettledResult<unknown>[] = [];
  for (let index = 0; index < 70; index += 1) {
    results.push(
      ...(await Promise.allSettled([
        vault.write(root, `sys/mounts/m${index}`, { type: "echo", description }),
      ])),
    );
  }
  expect(results.filter(({ status }) => status === "rejected").length).toBeGreaterThan(0);
  const listed = Object.keys((await vault.read(root, "sys/mounts"))?.data ?? {}).length;
  expect(listed).toBe(3 + results.filter(({ status }) => status === "fulfilled").length);
});
