import { RksError } from "@rk8s/protocol";
import { expect, test } from "vitest";
import { EtcdFailure } from "./etcd-failure.js";
import { leftWaiting } from "./left-waiting.js";

const AWAY = new RksError("UNREACHABLE", 'the store at "https://a:2379" cannot be reached', {
  suggestion: "Start it.",
});

test("who waited behind a store that did not answer is told so, with the endpoint and the remedy", () => {
  for (const before of [AWAY, new EtcdFailure("late", AWAY)]) {
    expect(leftWaiting("transaction", before)).toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringMatching(/was not sent.*"https:\/\/a:2379"/),
      suggestion: "Start it.",
    });
  }
});

test("who waited behind what was done, or was refused for good, came too late", () => {
  const refused = new EtcdFailure("refused", new RksError("STORAGE_FULL", "no space"));
  for (const before of [undefined, refused]) {
    expect(leftWaiting("read", before)).toMatchObject({ code: "BUSY" });
  }
});
