import { expect, test } from "vitest";

import { anUnsealedVault } from "../testing/unsealed-vault.js";

const READ_MOUNTS = `path "sys/mounts" { capabilities = ["read"] }`;

test.each([
  { path: "sys/policies/acl", member: "policy" },
  { path: "sys/policy", member: "rules" },
])("a policy is written, read, listed and deleted under $path", async ({ path, member }) => {
  await using subject = await anUnsealedVault();
  const { vault, root } = subject;
  expect(await vault.write(root, `${path}/Web`, { [member]: READ_MOUNTS })).toBeUndefined();
  expect((await vault.read(root, `${path}/web`))?.data).toEqual({ name: "web", [member]: READ_MOUNTS });
  expect((await vault.list(root, path))?.data).toMatchObject({ keys: ["default", "web", "root"] });
  await vault.delete(root, `${path}/WEB`);
  expect(await vault.read(root, `${path}/web`)).toBeUndefined();
});

test("a change of a policy holds for the next request of tokens that have it", async () => {
  await using subject = await anUnsealedVault();
  const { vault, root } = subject;
  const token = await subject.tokenWith({ policies: ["p"] });
  const read = async (): Promise<string> =>
    vault.read(token, "sys/mounts").then(
      () => "allowed",
      (reason: unknown) => (reason as { code: string }).code,
    );
  expect(await read()).toBe("PERMISSION_DENIED");
  await vault.write(root, "sys/policies/acl/p", { policy: READ_MOUNTS });
  expect(await read()).toBe("allowed");
  await vault.write(root, "sys/policies/acl/p", { policy: `path "sys/mounts" { capabilities = ["deny"] }` });
  expect(await read()).toBe("PERMISSION_DENIED");
  await vault.write(root, "sys/policies/acl/p", { policy: READ_MOUNTS });
  await vault.delete(root, "sys/policies/acl/p");
  expect(await read()).toBe("PERMISSION_DENIED");
});

test("another spelling of a path does not get around a deny", async () => {
  await using subject = await anUnsealedVault();
  const { vault, root } = subject;
  await vault.write(root, "sys/policies/acl/most", {
    policy: `path "sys/*" { capabilities = ["read", "update"] }
             path "sys/policies/acl/admin" { capabilities = ["deny"] }
             path "sys/mounts" { capabilities = ["deny"] }`,
  });
  const token = await subject.tokenWith({ policies: ["most"] });
  for (const path of ["sys/policies/acl/admin", "sys/policies/acl/ADMIN", "/sys/policies/acl/admin/"]) {
    await expect(vault.write(token, path, { policy: "" })).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
  }
  for (const path of ["sys/mounts", "sys/mounts/", "/sys/mounts"]) {
    await expect(vault.read(token, path)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  }
});

test.each([
  { name: "root", method: "write" },
  { name: "root", method: "delete" },
  { name: "default", method: "delete" },
  { name: "response-wrapping", method: "write" },
  { name: "response-wrapping", method: "delete" },
] as const)("$name cannot be changed by $method", async ({ name, method }) => {
  await using subject = await anUnsealedVault();
  const request = subject.vault[method](subject.root, `sys/policies/acl/${name}`, { policy: READ_MOUNTS });
  await expect(request).rejects.toMatchObject({ code: "INPUT_INVALID" });
});

test("default can be replaced", async () => {
  await using subject = await anUnsealedVault();
  const token = await subject.tokenWith({ policies: ["none"] });
  expect((await subject.vault.read(token, "auth/token/lookup-self"))?.data).toMatchObject({
    policies: ["default", "none"],
  });
  await subject.vault.write(subject.root, "sys/policies/acl/default", { policy: "# nothing" });
  await expect(subject.vault.read(token, "auth/token/lookup-self")).rejects.toMatchObject({
    code: "PERMISSION_DENIED",
  });
});

test.each([
  { name: "a document that is not one", path: "p", data: { policy: "path" } },
  { name: "no document", path: "p", data: {} },
  { name: "a document that is an object", path: "p", data: { policy: { path: {} } } },
  { name: "a name with spaces", path: "p q", data: { policy: READ_MOUNTS } },
])("$name is refused", async ({ path, data }) => {
  await using subject = await anUnsealedVault();
  await expect(subject.vault.write(subject.root, `sys/policies/acl/${path}`, data)).rejects.toMatchObject({
    code: "INPUT_INVALID",
  });
});

test("a name with a slash is no path", async () => {
  await using subject = await anUnsealedVault();
  const request = subject.vault.write(subject.root, "sys/policies/acl/p/q", { policy: READ_MOUNTS });
  await expect(request).rejects.toMatchObject({ code: "NOT_FOUND" });
});

test("nobody without a token gets anything but the four open paths", async () => {
  await using subject = await anUnsealedVault();
  const { vault } = subject;
  for (const path of ["sys/health", "sys/seal-status", "sys/init"]) {
    expect((await vault.handle({ operation: "read", path }))?.data).toBeTruthy();
  }
  const closed = [
    ["read", "sys/mounts"],
    ["update", "sys/seal"],
    ["list", "sys/policies/acl"],
    ["update", "auth/token/create"],
    ["read", "auth/token/lookup-self"],
    ["delete", "sys/health"],
    ["read", "no/such/path"],
  ] as const;
  for (const [operation, path] of closed) {
    await expect(vault.handle({ operation, path, data: {} })).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
  }
});

test("a path asked for what it cannot do is told apart from one that is not there", async () => {
  await using subject = await anUnsealedVault();
  await expect(subject.vault.delete(subject.root, "sys/health")).rejects.toMatchObject({
    code: "UNSUPPORTED",
  });
  await expect(subject.vault.read(subject.root, "no/such/path")).rejects.toMatchObject({ code: "NOT_FOUND" });
});
