import { expect, test } from "vitest";
import { EventLog, type AgentEvent } from "./agent-events.js";

function anEvent(attempt: number): AgentEvent {
  return { time: "", event: "reconnecting", attempt, delaySeconds: 1, code: "UNREACHABLE", message: "" };
}

async function readAll(log: EventLog): Promise<number[]> {
  const attempts: number[] = [];
  for await (const event of log.read()) if (event.event === "reconnecting") attempts.push(event.attempt);
  return attempts;
}

test("what happened before the reader came is not lost", async () => {
  const log = new EventLog();
  log.push(anEvent(1));
  log.push(anEvent(2));
  log.end();
  log.push(anEvent(3));
  expect(await readAll(log)).toEqual([1, 2]);
});

test("a reader that waits gets each event and then the end", async () => {
  const log = new EventLog();
  const read = readAll(log);
  log.push(anEvent(1));
  await Promise.resolve();
  log.push(anEvent(2));
  await Promise.resolve();
  log.end();
  expect(await read).toEqual([1, 2]);
});

test("unread events are bounded; the oldest go first", async () => {
  const log = new EventLog();
  for (let i = 0; i < 3000; i++) log.push(anEvent(i));
  log.end();
  const read = await readAll(log);
  expect(read).toHaveLength(1024);
  expect(read.at(-1)).toBe(2999);
});
