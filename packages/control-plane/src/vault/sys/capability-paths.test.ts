import { expect, test } from "vitest";

import { anUnsealedVault, type TestVault } from "../testing/unsealed-vault.js";

const POLICY = `
  path "kv/data/*" { capabilities = ["read", "list"] }
  path "kv/data/secret" { capabilities = ["deny"] }
  path "sys/capabilities*" { capabilities = ["update"] }`;

async function aReader(): Promise<TestVault & { readonly token: string; readonly accessor: string }> {
  const subject = await anUnsealedVault();
  await subject.vault.write(subject.root, "sys/policies/acl/reader", { policy: POLICY });
  const made = await subject.vault.write(subject.root, "auth/token/create", { policies: ["reader"] });
  const { client_token: token = "", accessor = "" } = made?.auth ?? {};
  return { ...subject, token, accessor };
}

test("the same is told of one's own token, of another's and of an accessor's", async () => {
  const { vault, root, token, accessor } = await aReader();
  const paths = ["kv/data/a", "kv/data/secret", "elsewhere"];
  const expected = { "kv/data/a": ["list", "read"], "kv/data/secret": ["deny"], elsewhere: ["deny"] };
  expect((await vault.write(token, "sys/capabilities-self", { paths }))?.data).toEqual(expected);
  expect((await vault.write(root, "sys/capabilities", { token, paths }))?.data).toEqual(expected);
  expect((await vault.write(root, "sys/capabilities-accessor", { accessor, paths }))?.data).toEqual(expected);
  expect((await vault.write(root, "sys/capabilities-self", { paths: ["x"] }))?.data).toEqual({
    capabilities: ["root"],
    x: ["root"],
  });
});

test.each([
  { name: "a list", data: { paths: ["kv/data/a"] } },
  { name: "text", data: { paths: "kv/data/a" } },
  { name: "the old name", data: { path: "kv/data/a" } },
  { name: "both names", data: { paths: ["kv/data/a"], path: "kv/data/a" } },
])("one path, given as $name, is told at the top as well", async ({ data }) => {
  const { vault, token } = await aReader();
  const request = { operation: "update", path: "sys/capabilities-self", data, clientToken: token } as const;
  const answer = await vault.answer(request);
  expect(answer?.form).toBe("repeated");
  expect(answer?.response.data).toEqual({ capabilities: ["list", "read"], "kv/data/a": ["list", "read"] });
});

test.each([
  { name: "no path", path: "sys/capabilities-self", data: {} },
  { name: "an empty list", path: "sys/capabilities-self", data: { paths: [] } },
  {
    name: "too many paths",
    path: "sys/capabilities-self",
    data: { paths: Array.from({ length: 1001 }, (_, index) => `p${index}`) },
  },
  { name: "a number", path: "sys/capabilities-self", data: { paths: [7] } },
  { name: "no token", path: "sys/capabilities", data: { paths: ["x"] } },
  { name: "an unknown token", path: "sys/capabilities", data: { paths: ["x"], token: "hvs.none" } },
  {
    name: "an unknown accessor",
    path: "sys/capabilities-accessor",
    data: { paths: ["x"], accessor: "none" },
  },
])("asking with $name is refused", async ({ path, data }) => {
  const { vault, token } = await aReader();
  await expect(vault.write(token, path, data)).rejects.toMatchObject({ code: "INPUT_INVALID" });
});

test("paths with the names of every object's members are paths like others", async () => {
  const { vault, token } = await aReader();
  const paths = ["__proto__", "constructor", "capabilities"];
  const data = (await vault.write(token, "sys/capabilities-self", { paths }))?.data ?? {};
  expect(Object.entries(data)).toEqual(paths.map((path) => [path, ["deny"]]));
});

test("asking for others takes a policy, asking for oneself the default one", async () => {
  const { vault, tokenWith } = await aReader();
  const token = await tokenWith({ policies: ["default"] });
  expect(await vault.write(token, "sys/capabilities-self", { paths: ["x"] })).toBeDefined();
  for (const path of ["sys/capabilities", "sys/capabilities-accessor"]) {
    await expect(vault.write(token, path, { paths: ["x"], token })).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
  }
});
