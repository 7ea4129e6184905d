import { expect, test } from "vitest";
import { processIo } from "./cli-io.js";

test.each(["SIGTERM", "SIGINT", "SIGHUP"] as const)(
  "%s asks to end until the watch is disposed",
  (signal) => {
    const io = processIo();
    const before = process.listenerCount(signal);
    const heard: string[] = [];
    const watch = io.onTerminate((name) => heard.push(name));
    process.emit(signal, signal);
    watch[Symbol.dispose]();
    expect(heard).toEqual([signal]);
    expect(process.listenerCount(signal)).toBe(before);
  },
);

test("a hang-up may mean something else than to end", () => {
  const heard: string[] = [];
  const watch = processIo().onTerminate((name) => heard.push(`end ${name}`), {
    onHangUp: (name) => heard.push(`reload ${name}`),
  });
  process.emit("SIGHUP", "SIGHUP");
  process.emit("SIGTERM", "SIGTERM");
  watch[Symbol.dispose]();
  expect(heard).toEqual(["reload SIGHUP", "end SIGTERM"]);
});

test("a watch for what nobody caught, and one for stdout, take themselves away", () => {
  const io = processIo();
  const count = (): number[] => [
    process.listenerCount("uncaughtException"),
    process.listenerCount("unhandledRejection"),
    process.stdout.listenerCount("error"),
  ];
  const before = count();
  const watches = [io.onCrash(() => undefined), io.onStdoutClosed(() => undefined)];
  expect(count()).toEqual(before.map((n) => n + 1));
  for (const watch of watches) watch[Symbol.dispose]();
  expect(count()).toEqual(before);
});
