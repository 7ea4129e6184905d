import { Secret } from "@rk8s/protocol";
import { expect, test } from "vitest";
import { storeName } from "./store-name.js";

test("a store is named without its password", () => {
  const url = new Secret("postgresql://rks:hunter2@db.example:5432/rks?password=hunter3");
  expect(storeName({ type: "sql", url })).toBe("postgresql://db.example:5432/rks");
  expect(storeName({ type: "sql", url: new Secret("hunter2") })).toBe("a database");
  expect(storeName({ type: "sql", url: { file: "/run/db.url" } })).toBe('the database of "/run/db.url"');
  expect(storeName({ type: "etcd", endpoints: ["https://a:1", "https://b:1"], prefix: "/rk8s" })).toBe(
    'https://a:1, https://b:1 under "/rk8s"',
  );
});
