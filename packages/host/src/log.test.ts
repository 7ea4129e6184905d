import { RksError, Secret } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import { createLogger, type LogFormat, type LogLevel } from "./log.js";

function logged(
  level: LogLevel,
  format: LogFormat,
  message: string,
  fields: Record<string, unknown>,
): string {
  const lines: string[] = [];
  const clock = new FakeClock({ now: Date.UTC(2026, 0, 1) });
  const logger = createLogger({ level, format }, { clock, write: (line) => lines.push(line) });
  logger.info(message, fields);
  return lines.join("");
}

test("a text line has time, level, message and fields", () => {
  expect(logged("info", "text", "Node joined", { node: "n1", peer: "a b", count: 2, gone: undefined })).toBe(
    '2026-01-01T00:00:00.000Z info  Node joined node=n1 peer="a b" count=2\n',
  );
});

test("a JSON line has the same", () => {
  expect(JSON.parse(logged("info", "json", "Node joined", { node: "n1" }))).toEqual({
    time: "2026-01-01T00:00:00.000Z",
    level: "info",
    message: "Node joined",
    node: "n1",
  });
});

test("what is below the level is not written", () => {
  expect(logged("warn", "text", "Node joined", {})).toBe("");
});

test("secrets stay secret, errors keep their code and cause", () => {
  const error = new RksError("BUSY", "too much", { cause: new Error("below") });
  const line = logged("info", "json", "Failed", { token: new Secret("s3cret"), error });
  expect(line).not.toContain("s3cret");
  expect(JSON.parse(line)).toMatchObject({ error: { code: "BUSY", cause: { message: "below" } } });
});

test("one event is one line, whatever is in it", () => {
  const line = logged("info", "text", "Said", { text: "a\nb\u001b[2Jc", huge: "x".repeat(100_000) });
  expect(line.split("\n")).toHaveLength(2);
  expect(line).not.toContain("\u001b");
  expect(line.length).toBeLessThan(9000);
});
