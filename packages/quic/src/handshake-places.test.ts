import { FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import { type HandshakePlace, HandshakePlaces } from "./handshake-places.js";

function setUp(most: number, options: { readonly mayBegin?: () => boolean } = {}) {
  const clock = new FakeClock();
  const begun = new Map<string, HandshakePlace>();
  const places = new HandshakePlaces({
    most,
    monotonicMs: () => clock.monotonicMs(),
    onTurn: (begin) => {
      if (options.mayBegin?.() === false) return false;
      begin();
      return true;
    },
  });
  const enter = (id: string, host = "192.0.2.1"): void =>
    places.enter(id, host, (place) => begun.set(id, place));
  return { clock, begun, places, enter };
}

test("one network gets half of the places, other strangers three quarters, and who is known the rest", () => {
  const { begun, places, enter } = setUp(12);
  for (let i = 0; i < 12; i++) enter(`a${i}`, "192.0.2.1");
  expect(begun.size).toBe(6);
  for (let i = 0; i < 12; i++) enter(`b${i}`, `198.51.100.${i}`);
  expect(begun.size).toBe(9);
  places.know("203.0.113.1");
  for (let i = 0; i < 12; i++) enter(`c${i}`, "203.0.113.1");
  expect(begun.size).toBe(12);
});

test("of the networks that were known, the oldest are forgotten", () => {
  const { begun, places, enter } = setUp(4);
  places.know("192.0.2.1");
  for (let i = 0; i < 16_384; i++) places.know(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`);
  for (let i = 0; i < 3; i++) enter(`s${i}`, "198.51.100.1");
  enter("forgotten", "192.0.2.1");
  enter("known", "10.0.63.255");
  expect([...begun.keys()]).toEqual(["s0", "s1", "s2", "known"]);
});

test("who finds no place waits, and begins when one is given back, the first first", () => {
  const { begun, places, enter } = setUp(1);
  for (const id of ["a", "b", "c"]) enter(id);
  places.leave(begun.get("a")!);
  expect([...begun.keys()]).toEqual(["a", "b"]);
  places.leave(begun.get("b")!);
  places.leave(begun.get("b")!);
  enter("d");
  expect([...begun.keys()]).toEqual(["a", "b", "c"]);
});

test("who repeats itself waits once", () => {
  const { begun, places, enter } = setUp(1);
  enter("a");
  enter("b");
  enter("b");
  places.leave(begun.get("a")!);
  places.leave(begun.get("b")!);
  enter("c");
  expect([...begun.keys()]).toEqual(["a", "b", "c"]);
});

test("who has waited too long is not begun for", () => {
  const { clock, begun, places, enter } = setUp(1);
  enter("a");
  begun.get("a")!.giveUp = () => undefined;
  enter("gone");
  clock.advance(4_000);
  enter("b");
  clock.advance(1_500);
  places.leave(begun.get("a")!);
  expect([...begun.keys()]).toEqual(["a", "b"]);
});

test("a slow handshake makes room for one that waits, a quick one does not", () => {
  const { clock, begun, places, enter } = setUp(2);
  let ended = 0;
  for (const id of ["a", "b"]) {
    enter(id);
    const place = begun.get(id)!;
    place.giveUp = () => {
      ended++;
      places.leave(place);
    };
  }
  clock.advance(1_900);
  enter("c");
  expect(ended).toBe(0);
  clock.advance(200);
  enter("c");
  expect(ended).toBe(1);
  expect(begun.has("c")).toBe(true);
});

test("a network that has its share takes places from itself, not from others", () => {
  const { clock, begun, enter } = setUp(10);
  const ended: string[] = [];
  const begin = (id: string, host: string): void => {
    enter(id, host);
    const place = begun.get(id)!;
    const { giveUp } = place;
    place.giveUp = () => {
      ended.push(id);
      giveUp();
    };
  };
  begin("other", "198.51.100.1");
  for (let i = 0; i < 5; i++) begin(`own-${i}`, "192.0.2.1");
  clock.advance(2_100);
  enter("more", "192.0.2.1");
  expect(ended).toEqual(["own-0"]);
  expect(begun.has("more")).toBe(true);
});

test("the queue is bounded, and one network gets half of it", () => {
  const { begun, places, enter } = setUp(1);
  enter("first");
  for (let i = 0; i < 1_000; i++) enter(`a${i}`, "192.0.2.1");
  for (let i = 0; i < 1_000; i++) enter(`b${i}`, `198.51.100.${i}`);
  for (let last: HandshakePlace | undefined; ;) {
    const next = [...begun.values()].at(-1)!;
    if (next === last) break;
    places.leave((last = next));
  }
  expect([...begun.keys()].filter((id) => id.startsWith("a"))).toHaveLength(128);
  expect([...begun.keys()].filter((id) => id.startsWith("b"))).toHaveLength(128);
});

test("a place that cannot be used at one's turn is not lost", () => {
  let mayBegin = false;
  const { begun, places, enter } = setUp(1, { mayBegin: () => mayBegin });
  enter("a");
  enter("b");
  places.leave(begun.get("a")!);
  mayBegin = true;
  enter("c");
  expect([...begun.keys()]).toEqual(["a", "c"]);
});
