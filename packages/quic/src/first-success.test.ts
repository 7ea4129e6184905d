import { signalLoad } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import { firstSuccess } from "./first-success.js";

const NEVER = new Promise<string>(() => undefined);
const { signal } = new AbortController();

function options(staggerMs = 60_000): {
  staggerMs: number;
  signal: AbortSignal;
  discarded: string[];
  discard: (value: string) => void;
} {
  const discarded: string[] = [];
  return { staggerMs, signal, discarded, discard: (value) => discarded.push(value) };
}

test("the first candidate that succeeds ends the search", async () => {
  const tried: string[] = [];
  const attempt = async (name: string): Promise<string> => {
    tried.push(name);
    return Promise.resolve(name);
  };
  expect(await firstSuccess(["a", "b"], attempt, options())).toBe("a");
  expect(tried).toEqual(["a"]);
});

test("a failure starts the next attempt without waiting", async () => {
  const attempt = (name: string): Promise<string> =>
    name === "a" ? Promise.reject(new Error("refused")) : Promise.resolve(name);
  expect(await firstSuccess(["a", "b"], attempt, options())).toBe("b");
});

test("a silent attempt is overtaken and told to stop", async () => {
  const signals: AbortSignal[] = [];
  const attempt = (name: string, own: AbortSignal): Promise<string> => {
    signals.push(own);
    return name === "a" ? NEVER : Promise.resolve(name);
  };
  expect(await firstSuccess(["a", "b"], attempt, options(1))).toBe("b");
  expect(signals.every((own) => own.aborted)).toBe(true);
});

test("an attempt that succeeds too late is given up", async () => {
  let finish: (value: string) => void = () => undefined;
  const late = new Promise<string>((resolve) => {
    finish = resolve;
  });
  const used = options(1);
  const attempt = (name: string): Promise<string> => (name === "a" ? late : Promise.resolve(name));
  expect(await firstSuccess(["a", "b"], attempt, used)).toBe("b");
  finish("a");
  await late;
  await Promise.resolve();
  expect(used.discarded).toEqual(["a"]);
});

test("all failures are reported together in order", async () => {
  const attempt = (name: string): Promise<string> => Promise.reject(new Error(name));
  const failure = await firstSuccess(["a", "b"], attempt, options()).catch((reason: unknown) => reason);
  expect((failure as AggregateError).errors.map(String)).toEqual(["Error: a", "Error: b"]);
});

test("whoever searches again and again finds nothing of it left with its signal", async () => {
  for (let round = 0; round < 50; round += 1) {
    const search = { ...options(), signal };
    await firstSuccess(["a"], () => Promise.resolve("a"), search);
    await expect(
      firstSuccess(["a"], () => Promise.reject(new Error("refused")), search),
    ).rejects.toBeInstanceOf(AggregateError);
  }
  expect(signalLoad(signal)).toBe(0);
});
