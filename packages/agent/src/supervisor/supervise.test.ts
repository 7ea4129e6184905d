import { expect, test } from "vitest";
import { RestartPace } from "./restart-pace.js";
import { supervise } from "./supervise.js";
import type { Worker, WorkerEnd } from "./worker-process.js";

class FakeWorker implements Worker {
  readonly pid = 42;
  wasReady = false;
  readonly signals: string[] = [];
  readonly ended: Promise<WorkerEnd>;
  end!: (end: WorkerEnd) => void;

  constructor() {
    this.ended = new Promise((resolve) => (this.end = resolve));
  }

  kill(signal: NodeJS.Signals): void {
    this.signals.push(signal);
    if (signal === "SIGKILL") this.end({ code: null, signal });
  }
}

const KILLED: WorkerEnd = { code: null, signal: "SIGKILL" };

function setUp() {
  const workers: FakeWorker[] = [];
  const order: string[] = [];
  const said: string[] = [];
  const sleeps: { readonly ms: number; readonly wake: () => void }[] = [];
  let now = 0;
  let terminate: (signal: NodeJS.Signals) => void = () => undefined;
  let replace: () => void = () => undefined;
  let changed: () => void = () => undefined;
  const nothing = { [Symbol.dispose]: () => undefined };
  const finished = supervise({
    startWorker: () => {
      order.push("start");
      const worker = new FakeWorker();
      workers.push(worker);
      changed();
      return worker;
    },
    pipes: { repair: () => order.push("repair"), clear: () => order.push("clear") },
    pace: new RestartPace(),
    monotonicMs: () => now,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        signal.addEventListener("abort", () => resolve());
        sleeps.push({ ms, wake: resolve });
        changed();
      }),
    say: (line) => said.push(line),
    onTerminate: (listener) => ((terminate = listener), nothing),
    onReplace: (listener) => ((replace = listener), nothing),
  });
  const until = async (isSo: () => boolean): Promise<void> => {
    while (!isSo()) await new Promise<void>((resolve) => (changed = resolve));
  };
  return {
    finished,
    workers,
    order,
    said,
    sleeps,
    signal: (name: NodeJS.Signals) => terminate(name),
    replace: () => replace(),
    /** The worker of this number. */
    worker: async (count: number): Promise<FakeWorker> => {
      await until(() => workers.length >= count);
      return workers[count - 1]!;
    },
    /** The pause of this number. */
    pause: async (count: number): Promise<{ readonly ms: number; readonly wake: () => void }> => {
      await until(() => sleeps.length >= count);
      return sleeps[count - 1]!;
    },
    pass: (ms: number) => (now += ms),
  };
}

test.each([0, 64, 65, 69, 70, 75, 77, 78, 1, 126])(
  "a worker that ends with %i at first ends all",
  async (code) => {
    const { finished, worker, order } = setUp();
    (await worker(1)).end({ code, signal: null });
    expect(await finished).toBe(code);
    expect(order).toEqual(["repair", "start", ...(code === 77 ? ["clear"] : [])]);
  },
);

test("a worker that is killed is started again, with the pipes repaired in between", async () => {
  const { finished, worker, pause, pass, order, said } = setUp();
  const first = await worker(1);
  first.wasReady = true;
  pass(5000);
  first.end(KILLED);
  const { ms, wake } = await pause(1);
  expect(ms).toBe(0);
  wake();
  (await worker(2)).end({ code: 0, signal: null });
  expect(await finished).toBe(0);
  expect(order).toEqual(["repair", "start", "repair", "start"]);
  expect(said).toEqual(["the agent's process 42 was ended by SIGKILL; it is started again"]);
});

test.each([70, 1, 134])(
  "exit code %i is a crash once the node was in service, also of an earlier worker",
  async (code) => {
    const { finished, worker, pause } = setUp();
    const first = await worker(1);
    first.wasReady = true;
    first.end({ code, signal: null });
    (await pause(1)).wake();
    (await worker(2)).end({ code, signal: null });
    (await pause(2)).wake();
    (await worker(3)).end({ code: 77, signal: null });
    expect(await finished).toBe(77);
  },
);

test("a crash loop is slowed down to one start in 30 s; a worker that was in service is a new beginning", async () => {
  const { worker, pause } = setUp();
  const pauses: number[] = [];
  for (let i = 1; i <= 10; i++) {
    const current = await worker(i);
    if (i === 9) current.wasReady = true;
    current.end({ code: null, signal: "SIGSEGV" });
    const { ms, wake } = await pause(i);
    pauses.push(ms);
    wake();
  }
  expect(pauses).toEqual([250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 250, 250]);
});

test("the first signal asks, the second ends at once with its number", async () => {
  const { finished, worker, signal } = setUp();
  const first = await worker(1);
  signal("SIGTERM");
  expect(first.signals).toEqual(["SIGTERM"]);
  signal("SIGINT");
  expect(first.signals).toEqual(["SIGTERM", "SIGKILL"]);
  expect(await finished).toBe(130);
});

test("a worker that stops on request ends all with its own code", async () => {
  const { finished, worker, signal } = setUp();
  const first = await worker(1);
  signal("SIGHUP");
  first.end({ code: 0, signal: null });
  expect(await finished).toBe(0);
});

test("a worker that cannot hear the request yet and ends by it has stopped as asked", async () => {
  const { finished, worker, signal } = setUp();
  const first = await worker(1);
  signal("SIGTERM");
  first.end({ code: null, signal: "SIGTERM" });
  expect(await finished).toBe(0);
});

test("a worker that does not stop in time is ended, which is no failure", async () => {
  const { finished, worker, signal, pause } = setUp();
  const first = await worker(1);
  signal("SIGTERM");
  const { ms, wake } = await pause(1);
  expect(ms).toBe(9800);
  wake();
  expect(await finished).toBe(0);
  expect(first.signals).toEqual(["SIGTERM", "SIGKILL"]);
});

test("a signal during a pause ends all without another start", async () => {
  const { finished, worker, signal, pause, workers } = setUp();
  (await worker(1)).end(KILLED);
  await pause(1);
  signal("SIGTERM");
  expect(await finished).toBe(0);
  expect(workers).toHaveLength(1);
});

test("a worker is replaced on request", async () => {
  const { finished, worker, replace, pause, signal } = setUp();
  const first = await worker(1);
  first.wasReady = true;
  replace();
  expect(first.signals).toEqual(["SIGKILL"]);
  (await pause(1)).wake();
  const second = await worker(2);
  signal("SIGTERM");
  replace();
  expect(second.signals).toEqual(["SIGTERM"]);
  second.end({ code: 0, signal: null });
  expect(await finished).toBe(0);
});
