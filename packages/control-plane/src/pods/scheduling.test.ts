import { expect, test } from "vitest";
import { type Candidate, placePod } from "./scheduling.js";

function aCandidate(fields: Partial<Candidate>): Candidate {
  return { name: "worker-1", isReady: true, pods: 0, maxPods: 110, ...fields };
}

test.each([
  { name: "no node", requested: null, candidates: [], placed: { pending: "none of 0 nodes is Ready" } },
  {
    name: "no Ready node",
    requested: null,
    candidates: [aCandidate({ isReady: false })],
    placed: { pending: "none of 1 nodes is Ready" },
  },
  {
    name: "the fewest pods",
    requested: null,
    candidates: [aCandidate({ name: "a", pods: 2 }), aCandidate({ name: "b", pods: 1 })],
    placed: { nodeName: "b" },
  },
  {
    name: "the first by name among equals",
    requested: null,
    candidates: [aCandidate({ name: "b" }), aCandidate({ name: "a" })],
    placed: { nodeName: "a" },
  },
  {
    name: "not a node that is not Ready, however empty",
    requested: null,
    candidates: [aCandidate({ name: "a", isReady: false }), aCandidate({ name: "b", pods: 9 })],
    placed: { nodeName: "b" },
  },
  {
    name: "no room",
    requested: null,
    candidates: [aCandidate({ pods: 2, maxPods: 2 })],
    placed: { pending: "all 1 Ready nodes are full" },
  },
  {
    name: "the node asked for, whatever it is like",
    requested: "c",
    candidates: [aCandidate({ name: "a" })],
    placed: { nodeName: "c" },
  },
])("$name", ({ requested, candidates, placed }) => {
  expect(placePod(requested, candidates)).toEqual(placed);
});
