import { expect, test } from "vitest";
import { assertNodeName } from "./node.js";

test.each(["a", "worker-1", "0", "a--b", "x".repeat(63), "local", "operators", "my-rks"])(
  "%j may be a node's name",
  (name) => {
    expect(() => assertNodeName(name)).not.toThrow();
  },
);

test.each([
  "",
  "-a",
  "a-",
  "A",
  "a.b",
  "a_b",
  "a b",
  "a\n",
  "ä",
  "x".repeat(64),
  "rks",
  "rks-cluster",
  "rksx",
  "localhost",
  "operator",
  "*",
  "a\u0000",
])("%j may not be a node's name", (name) => {
  expect(() => assertNodeName(name)).toThrow(expect.objectContaining({ code: "NODE_NAME_INVALID" }));
});
