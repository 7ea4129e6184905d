import { expect, test } from "vitest";

import { memoryStorage } from "./memory-storage.js";
import { prefixedStorage } from "./prefix.js";

test("a view reads, lists, writes, compares and watches under its prefix only", async () => {
  await using storage = memoryStorage();
  const view = prefixedStorage(storage, "v/");
  await storage.transaction([], [{ type: "put", key: "w/x", value: Buffer.from("outside") }]);
  const { revision } = await view.transaction(
    [{ key: "a", modRevision: 0 }],
    [
      { type: "put", key: "a", value: Buffer.from("1") },
      { type: "put", key: "b", value: Buffer.from("2") },
    ],
  );
  expect((await storage.get("v/a"))?.modRevision).toBe(revision);
  expect((await view.get("a"))?.key).toBe("a");
  expect((await view.list("")).entries.map(({ key }) => key)).toEqual(["a", "b"]);
  expect((await view.list("", { after: "a", limit: 1 })).entries.map(({ key }) => key)).toEqual(["b"]);
  for await (const change of view.watch("", revision, { signal: new AbortController().signal })) {
    expect(change.key).toBe("a");
    break;
  }
});
