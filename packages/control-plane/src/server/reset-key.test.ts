import { utf8 } from "@rk8s/protocol";
import { memoryStorage } from "@rk8s/storage";
import { expect, test } from "vitest";
import { resetKey } from "./reset-key.js";

test("there is one key for ever, whoever asks first", async () => {
  await using storage = memoryStorage();
  const [first, second] = await Promise.all([resetKey(storage), resetKey(storage)]);
  expect(first).toHaveLength(32);
  expect(second).toEqual(first);
  expect(await resetKey(storage)).toEqual(first);
  await using other = memoryStorage();
  expect(await resetKey(other)).not.toEqual(first);
});

test("a key that is no key is not used", async () => {
  await using storage = memoryStorage();
  await storage.transaction([], [{ type: "put", key: "cluster/quic-reset-key", value: utf8("short") }]);
  await expect(resetKey(storage)).rejects.toMatchObject({ code: "STORAGE_CORRUPT" });
});
