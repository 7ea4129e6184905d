import { RksError } from "@rk8s/protocol";
import { expect, test } from "vitest";
import { type AskPki, runIssuanceCases } from "../testing/issuance-vectors.js";

test("the runner notices cases that go the other way, and failures that are no refusals", async () => {
  const cases = [
    { id: 1, role: {}, request: {}, allowed: true },
    { id: 2, role: {}, request: {}, allowed: false },
  ];
  const names = async (ask: AskPki) =>
    (await runIssuanceCases(cases, ask, (error) => error instanceof RksError)).map(
      ({ name, got }) => `${name.slice(0, 15)} ${got}`,
    );
  const refuse = (reason: Error): AskPki => {
    return (_, path) => (path.startsWith("roles/") ? Promise.resolve({}) : Promise.reject(reason));
  };
  expect(await names(() => Promise.resolve({ certificate: "PEM" }))).toEqual(["case 1 of row 2 issued"]);
  expect(await names(() => Promise.resolve({}))).toHaveLength(2);
  expect(await names(refuse(new RksError("ROLE_REFUSED", "no")))).toEqual([
    expect.stringContaining("case 0 of row 1"),
  ]);
  expect(await names(refuse(new Error("broken")))).toHaveLength(2);
});
