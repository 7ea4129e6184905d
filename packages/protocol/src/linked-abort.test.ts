import { expect, test } from "vitest";
import { LinkedAbort } from "./linked-abort.js";
import { signalLoad } from "./testing/signal-load.js";

const REASON = new Error("the reason");

test("it is aborted with each of the others, with its reason, and by itself without touching them", () => {
  const [one, other] = [new AbortController(), new AbortController()];
  const linked = [0, 1].map(() => new LinkedAbort(one.signal, undefined, other.signal));
  const alone = new LinkedAbort(one.signal);
  alone.abort(REASON);
  expect([alone.signal.reason, one.signal.aborted]).toEqual([REASON, false]);
  other.abort(REASON);
  expect(linked.map(({ signal }): unknown => signal.reason)).toEqual([REASON, REASON]);
  one.abort(new Error("later"));
  expect(linked.map(({ signal }): unknown => signal.reason)).toEqual([REASON, REASON]);
});

test("of one that is aborted already it is born aborted, and follows nobody", () => {
  const life = new AbortController();
  const linked = new LinkedAbort(life.signal, AbortSignal.abort(REASON));
  expect([linked.signal.aborted, linked.signal.reason]).toEqual([true, REASON]);
  expect(signalLoad(life.signal)).toBe(0);
});

test("disposed, it is over for whoever waits on it", () => {
  const life = new AbortController();
  let ends = 0;
  {
    using linked = new LinkedAbort(life.signal);
    linked.signal.addEventListener("abort", () => (ends += 1), { once: true });
  }
  life.abort();
  expect(ends).toBe(1);
});

test("whatever number of them a long-lived signal has had, nothing of them stays there", () => {
  const life = new AbortController();
  const first = new LinkedAbort(life.signal);
  for (let count = 0; count < 1_000; count += 1) {
    using linked = new LinkedAbort(life.signal, first.signal);
    expect(signalLoad(life.signal)).toBe(1);
    expect(linked.signal.aborted).toBe(false);
  }
  expect(signalLoad(first.signal)).toBe(0);
  first.abort();
  expect(signalLoad(life.signal)).toBe(0);
});

test("a thousand at a time cost a long-lived signal one listener, and one that ends takes none of the others along", () => {
  const life = new AbortController();
  const linked = Array.from({ length: 1_000 }, () => new LinkedAbort(life.signal));
  expect(signalLoad(life.signal)).toBe(1);
  for (const each of linked.slice(1)) each.abort();
  expect([linked[0]!.signal.aborted, signalLoad(life.signal)]).toEqual([false, 1]);
  life.abort(REASON);
  expect(linked[0]!.signal.reason).toBe(REASON);
});

test("one that is begun or ended while the others are told loses nobody", () => {
  const life = new AbortController();
  const [first, second] = [new LinkedAbort(life.signal), new LinkedAbort(life.signal)];
  let late: LinkedAbort | undefined;
  first.signal.addEventListener("abort", () => {
    second.abort(REASON);
    late = new LinkedAbort(life.signal);
  });
  life.abort();
  expect([second.signal.reason, late?.signal.aborted]).toEqual([REASON, true]);
});

/** What is counted here is what grows without end; without this the tests above could not fail. */
test("of `AbortSignal.any` everything stays", () => {
  const life = new AbortController();
  for (let count = 0; count < 100; count += 1) {
    const over = new AbortController();
    // oxlint-disable-next-line no-restricted-properties -- what the rule is for
    AbortSignal.any([life.signal, over.signal]);
    over.abort();
  }
  expect(signalLoad(life.signal)).toBe(100);
});
