import { expect, test } from "vitest";

import { anUnsealedVault, echoBackend, type TestVault } from "../testing/unsealed-vault.js";

async function aVaultWithMounts(): Promise<TestVault & { readonly reader: string }> {
  const subject = await anUnsealedVault({
    backends: { echo: echoBackend },
    loginMethods: { echo: echoBackend },
  });
  const { vault, root, tokenWith } = subject;
  await vault.write(root, "sys/mounts/mine", { type: "echo", description: "m" });
  await vault.write(root, "sys/mounts/hidden", { type: "echo" });
  await vault.write(root, "sys/auth/open", { type: "echo", config: { listing_visibility: "unauth" } });
  const policy = `path "mine/stored/*" { capabilities = ["read"] } path "hidden/*" { capabilities = ["deny"] }`;
  await vault.write(root, "sys/policies/acl/p", { policy });
  const reader = await tokenWith({ policies: ["p"], no_default_policy: true });
  return { ...subject, reader };
}

test("mounts are shown to whoever can reach them, and without a token only those listed for everybody", async () => {
  const { vault, root, reader } = await aVaultWithMounts();
  const shown = async (token: string): Promise<unknown> =>
    (await vault.read(token, "sys/internal/ui/mounts"))?.data;
  expect(await shown("")).toEqual({
    secret: {},
    auth: { "open/": { type: "echo", description: "", options: null } },
  });
  const own = (await shown(reader)) as { secret: object; auth: object };
  expect(Object.keys(own.secret)).toEqual(["mine/"]);
  expect(Object.keys(own.auth)).toEqual(["open/"]);
  expect(own.secret).toMatchObject({ "mine/": { type: "echo", description: "m", config: {} } });
  const all = (await shown(root.reveal())) as { secret: object; auth: object };
  expect(Object.keys(all.secret)).toEqual(["cubbyhole/", "hidden/", "identity/", "mine/", "sys/"]);
  expect(Object.keys(all.auth)).toEqual(["open/", "token/"]);
  await expect(shown("hvs.unknown")).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
});

test("the mount of a path is told with its own path, as the kv commands ask for it, without a policy for asking", async () => {
  const { vault, reader } = await aVaultWithMounts();
  for (const path of ["mine", "mine/", "mine/stored/a/b"]) {
    expect((await vault.read(reader, `sys/internal/ui/mounts/${path}`))?.data).toMatchObject({
      path: "mine/",
      type: "echo",
      accessor: expect.any(String) as string,
    });
  }
  expect((await vault.read(reader, "sys/internal/ui/mounts/auth/open"))?.data).toMatchObject({
    path: "auth/open/",
  });
});

test.each([
  { name: "a mount that the token cannot reach", path: "hidden/x", asReader: true },
  { name: "no mount", path: "none", asReader: true },
  { name: "a mount, without a token", path: "mine", asReader: false },
  { name: "a mount listed for everybody, without a token", path: "auth/open", asReader: false },
])("asking for $name is refused in the same words", async ({ path, asReader }) => {
  const { vault, reader } = await aVaultWithMounts();
  const read = vault.read(asReader ? reader : "", `sys/internal/ui/mounts/${path}`);
  await expect(read).rejects.toMatchObject({
    code: "PERMISSION_DENIED",
    message: `there is no mount at "${path}" that the token reaches`,
  });
});

test("a single use is taken by an optional token, too", async () => {
  const { vault, tokenWith } = await aVaultWithMounts();
  const once = await tokenWith({ policies: ["p"], num_uses: 1 });
  await vault.read(once, "sys/internal/ui/mounts");
  await expect(vault.read(once, "sys/internal/ui/mounts")).rejects.toMatchObject({
    code: "PERMISSION_DENIED",
  });
});

test("what the caller's policies allow together is told", async () => {
  const { vault, root, tokenWith } = await aVaultWithMounts();
  expect((await vault.read(root, "sys/internal/ui/resultant-acl"))?.data).toMatchObject({ root: true });
  const token = await tokenWith({ policies: ["p"] });
  expect((await vault.read(token, "sys/internal/ui/resultant-acl"))?.data).toMatchObject({
    root: false,
    glob_paths: {
      "mine/stored/": { capabilities: ["read"] },
      "hidden/": { capabilities: ["deny"] },
    },
  });
});

interface Described {
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly [method: string]: unknown;
}

interface Operation {
  readonly operationId: string;
  readonly security?: unknown;
  readonly parameters?: readonly { readonly name: string }[];
  readonly [flag: string]: unknown;
}

test("the OpenAPI document has every operation of every table, and none besides", async () => {
  const { vault, root } = await aVaultWithMounts();
  const document = (await vault.read(root, "sys/internal/specs/openapi"))?.data;
  expect(document).toMatchObject({ openapi: "3.0.3", info: { version: expect.any(String) as string } });
  const paths = document?.["paths"] as Readonly<Record<string, Described>>;
  const described = new Set<string>();
  const ids: string[] = [];
  for (const [path, item] of Object.entries(paths)) {
    const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    expect((item.parameters ?? []).map(({ name }) => name)).toEqual(named);
    for (const method of ["get", "post", "patch", "delete"]) {
      const operation = item[method] as Operation | undefined;
      if (operation === undefined) continue;
      ids.push(operation.operationId);
      described.add(`${method} ${path}`);
    }
  }
  expect(new Set(ids).size).toBe(ids.length);
  const methods = {
    read: "get",
    list: "get",
    scan: "get",
    update: "post",
    patch: "patch",
    delete: "delete",
  };
  const served = vault.paths.map(
    ({ path, verb }) => `${methods[verb]} /${path.replaceAll(/[:*](\w+)/g, "{$1}")}`,
  );
  expect([...described].toSorted()).toEqual([...new Set(served)].toSorted());
});

test("the OpenAPI document says of each operation who may call it and how a list is asked for", async () => {
  const { vault, root } = await aVaultWithMounts();
  const document = (await vault.read(root, "sys/internal/specs/openapi"))?.data;
  const paths = document?.["paths"] as Readonly<Record<string, Described>>;
  for (const { path, verb, access } of vault.paths) {
    const item = paths[`/${path.replaceAll(/[:*](\w+)/g, "{$1}")}`];
    const own = { read: "get", list: "get", scan: "get", update: "post", patch: "patch", delete: "delete" };
    const operation = item?.[own[verb]] as Operation;
    const isOpen = access === "anyone" || access === "optional";
    expect([path, verb, operation["x-vault-unauthenticated"] === true]).toEqual([path, verb, isOpen]);
    expect([path, verb, operation["x-vault-sudo"] === true]).toEqual([path, verb, access === "sudo"]);
    expect(operation.security === undefined).toBe(isOpen);
    const isQuery = verb === "list" || verb === "scan";
    expect(!isQuery || operation.parameters?.some(({ name }) => name === verb)).toBe(true);
  }
});

test("the OpenAPI document tells fields with their types, and which of them must be there", async () => {
  const { vault, root } = await aVaultWithMounts();
  const document = (await vault.read(root, "sys/internal/specs/openapi"))?.data;
  expect(document).toMatchObject({
    paths: {
      "/sys/remount": {
        post: {
          requestBody: {
            required: true,
            content: {
              "application/json": {
                schema: {
                  properties: { from: { type: "string" }, to: { type: "string" } },
                  required: ["from", "to"],
                },
              },
            },
          },
        },
      },
      "/sys/mounts/{path}/tune": {
        post: {
          requestBody: {
            required: false,
            content: {
              "application/json": {
                schema: {
                  properties: {
                    default_lease_ttl: { type: "integer", format: "seconds" },
                    force_no_cache: { type: "boolean" },
                    audit_non_hmac_request_keys: { type: "array", items: { type: "string" } },
                    options: { type: "object" },
                  },
                },
              },
            },
          },
        },
      },
    },
  });
});

test("without a token the OpenAPI document has no mount that is not listed for everybody", async () => {
  const { vault } = await aVaultWithMounts();
  const paths = (await vault.read("", "sys/internal/specs/openapi"))?.data?.["paths"] as object;
  expect(Object.keys(paths).every((path) => path.startsWith("/auth/open/"))).toBe(true);
});
