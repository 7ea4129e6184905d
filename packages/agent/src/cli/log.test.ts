import { RksError, Secret } from "@rk8s/protocol";
import { expect, test } from "vitest";
import { systemClock } from "../system-clock.js";
import { createLogger } from "./log.js";

function lines(level: "debug" | "warn"): {
  readonly written: string[];
  readonly log: ReturnType<typeof createLogger>;
} {
  const written: string[] = [];
  const clock = { ...systemClock, now: () => 0 };
  return { written, log: createLogger({ level }, { write: (line) => written.push(line), clock }) };
}

test("a line has the time, the level, the message and its fields", () => {
  const { written, log } = lines("debug");
  log.info("Pod started", { pod: "web", attempt: 2, note: "two words", missing: undefined });
  expect(written).toEqual([
    '1970-01-01T00:00:00.000Z info  Pod started pod=web attempt=2 note="two words"\n',
  ]);
});

test("what is below the level is not written", () => {
  const { written, log } = lines("warn");
  log.debug("a");
  log.info("b");
  log.warn("c");
  log.error("d");
  expect(written).toHaveLength(2);
});

test("errors show their code and what is behind them, secrets do not show", () => {
  const { written, log } = lines("debug");
  const cause = new TypeError("inner");
  log.error("Failed", { error: new RksError("BUSY", "outer", { cause }), token: new Secret("rkj1.x") });
  expect(written[0]).toContain('\\"code\\":\\"BUSY\\"');
  expect(written[0]).toContain("inner");
  expect(written[0]).toContain("[redacted]");
  expect(written[0]).not.toContain("rkj1");
});

test("a line is one line of bounded length that cannot drive a terminal", () => {
  const { written, log } = lines("debug");
  log.warn("Odd", { text: `a\nb\u001b[2J${"x".repeat(20_000)}` });
  expect(written[0]!.split("\n")).toHaveLength(2);
  expect(written[0]!.length).toBeLessThan(8200);
  expect(written[0]).not.toContain("\u001b");
});
