import { FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import { Lobby, type LobbyRank } from "./lobby.js";

function setUp() {
  const clock = new FakeClock();
  const lobby = new Lobby({ monotonicMs: () => clock.monotonicMs() });
  const done: string[] = [];
  const enter = (rank: LobbyRank, name: string, costMs = 0): boolean =>
    lobby.enter(rank, () => {
      clock.advance(costMs);
      done.push(name);
    });
  return { clock, lobby, done, enter };
}

test("who is further goes first, and equals in their order", () => {
  const { lobby, done, enter } = setUp();
  enter("stranger", "s1");
  enter("beginning", "b1");
  enter("handshake", "h1");
  enter("handshake", "h2");
  expect(lobby.serve()).toBeUndefined();
  expect(done).toEqual(["h1", "h2", "b1", "s1"]);
});

test("a turn is short, and the rest is asked for at once", () => {
  const { lobby, done, enter } = setUp();
  for (let i = 0; i < 5; i++) enter("stranger", `s${i}`, 2);
  expect(lobby.serve()).toBe(0);
  expect(done).toHaveLength(2);
});

test("a flood of one kind leaves the places of the others free", () => {
  const { enter } = setUp();
  let taken = 0;
  while (enter("stranger", "s")) taken++;
  expect(taken).toBe(256);
  expect(enter("beginning", "b")).toBe(true);
  expect(enter("handshake", "h")).toBe(true);
});

test("over a long time no more than its share of the processor is spent", () => {
  const { clock, lobby, enter } = setUp();
  const begun = clock.monotonicMs();
  let spent = 0;
  while (clock.monotonicMs() - begun < 60_000) {
    while (enter("beginning", "b", 2));
    const before = clock.monotonicMs();
    const waitMs = lobby.serve();
    spent += clock.monotonicMs() - before;
    clock.advance(waitMs ?? 1);
  }
  expect(spent / 60_000).toBeGreaterThan(0.5);
  expect(spent / 60_000).toBeLessThan(0.61);
});

test("work for one who turns out to be known is given back", () => {
  const { clock, lobby } = setUp();
  const begun = clock.monotonicMs();
  let handshakes = 0;
  while (clock.monotonicMs() - begun < 10_000) {
    const account = { costMs: 0, isKnown: false };
    lobby.enter("beginning", () => clock.advance(1), account);
    lobby.enter(
      "handshake",
      () => {
        clock.advance(1);
        account.isKnown = true;
        handshakes++;
      },
      account,
    );
    for (let waitMs = lobby.serve(); waitMs !== undefined; waitMs = lobby.serve()) clock.advance(waitMs);
  }
  expect(handshakes).toBe(5_000);
});
