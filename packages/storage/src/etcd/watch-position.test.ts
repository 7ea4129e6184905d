import fc from "fast-check";
import { expect, test } from "vitest";

import type { WatchAnswer, WatchEvent } from "./messages.js";
import { WatchPosition } from "./watch-position.js";

/** A store's events, each with a number of its own, some revisions with several. */
const history = fc
  .array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 12 })
  .map((sizes) => sizes.flatMap((size, index) => Array.from({ length: size }, () => event(index + 10))));

test("wherever streams break and answers are cut, every event is given once and in order", () => {
  fc.assert(
    fc.property(
      history,
      fc.array(fc.record({ length: fc.integer({ min: 1, max: 6 }), breaks: fc.boolean() }), {
        maxLength: 40,
      }),
      (events, cuts) => {
        const position = new WatchPosition(10);
        const given: WatchEvent[] = [];
        let next = begin(position, events);
        const steps = [
          ...cuts,
          ...Array.from({ length: events.length }, () => ({ length: 6, breaks: false })),
        ];
        for (const { length, breaks } of steps) {
          const taken = events.slice(next, next + length);
          next += taken.length;
          for (const one of taken) if (position.take(one)) given.push(one);
          const following = events[next]?.entry.modRevision;
          const isFragment = following !== undefined && following === taken.at(-1)?.entry.modRevision;
          if (taken.length > 0) position.finish(answer({ events: taken, isFragment }));
          if (breaks) next = begin(position, events);
        }
        expect(given).toEqual(events);
      },
    ),
  );
});

test("an answer without events moves on, but never back, and a fragment or a confirmation does not", () => {
  const position = new WatchPosition(10);
  position.finish(answer({ revision: 50, isCreated: true }));
  position.finish(answer({ revision: 50, isFragment: true }));
  expect(position.revision).toBe(10);
  position.finish(answer({ revision: 5 }));
  expect(position.revision).toBe(10);
  position.finish(answer({ revision: 20 }));
  expect(position.revision).toBe(21);
});

/** What etcd sends again: everything from the position's revision on. */
function begin(position: WatchPosition, events: readonly WatchEvent[]): number {
  position.begin();
  position.finish(answer({ revision: 1000, isCreated: true }));
  const index = events.findIndex(({ entry }) => entry.modRevision >= position.revision);
  return index === -1 ? events.length : index;
}

function event(modRevision: number): WatchEvent {
  const entry = { key: new Uint8Array(), value: new Uint8Array(), createRevision: 0, modRevision };
  return { isDelete: false, entry };
}

function answer(parts: Partial<WatchAnswer>): WatchAnswer {
  return {
    revision: 0,
    isCreated: false,
    isCanceled: false,
    cancelReason: "",
    compactRevision: 0,
    isFragment: false,
    events: [],
    ...parts,
  };
}
