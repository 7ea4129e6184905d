import { expect, test } from "vitest";

import type { JsonObject } from "../../vault/backend.js";
import { anUnsealedVault } from "../../vault/testing/unsealed-vault.js";
import { kvBackend } from "./kv-backend.js";

const SECRET = `{"__proto__":{"a":1},"constructor":"b","toString":null}`;
const parse = (json: string): JsonObject => JSON.parse(json) as JsonObject;

test.each([
  { name: "version 1", version: "1", path: "secret/x", data: SECRET },
  { name: "version 2", version: "2", path: "secret/data/x", data: `{"data":${SECRET}}` },
  { name: "a cubbyhole", version: "1", path: "cubbyhole/x", data: SECRET },
])("members of a secret may have any name, in $name", async ({ version, path, data }) => {
  await using subject = await anUnsealedVault({ backends: { kv: kvBackend({ clock: Date }) } });
  const { vault, root } = subject;
  await vault.write(root, "sys/mounts/secret", { type: "kv", options: { version } });
  await vault.write(root, path, parse(data));
  const request = { operation: "read", path, clientToken: root } as const;
  const read = (await vault.handle(request))?.data ?? {};
  expect(JSON.stringify(version === "2" ? read["data"] : read)).toBe(SECRET);
  expect(read["a"]).toBeUndefined();
  const wrapped = await vault.handle({ ...request, wrapTtlSeconds: 60 });
  const unwrapped = (await vault.write(wrapped?.wrap_info?.token ?? "", "sys/wrapping/unwrap", {}))?.data;
  expect(JSON.stringify(unwrapped)).toBe(JSON.stringify(read));
});

test("a patch of such a member changes the secret and nothing else", async () => {
  await using subject = await anUnsealedVault({ backends: { kv: kvBackend({ clock: Date }) } });
  const { vault, root } = subject;
  await vault.write(root, "sys/mounts/secret", { type: "kv", options: { version: "2" } });
  const path = "secret/data/x";
  await vault.write(root, path, { data: { b: 2 } });
  const data = parse(`{"data":{"__proto__":{"a":1}}}`);
  await vault.handle({ operation: "patch", path, data, clientToken: root });
  const read = (await vault.read(root, path))?.data?.["data"];
  expect(JSON.stringify(read)).toBe(`{"b":2,"__proto__":{"a":1}}`);
});
