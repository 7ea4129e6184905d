import { expect, test } from "vitest";
import { HandshakeBudget } from "./handshake-budget.js";

test("one network gets half of the places, and others the rest", () => {
  const budget = new HandshakeBudget(10);
  const taken = Array.from({ length: 10 }, () => budget.enter("192.0.2.1"));
  expect(taken.filter(Boolean)).toHaveLength(5);
  const others = Array.from({ length: 10 }, (_, i) => budget.enter(`198.51.100.${i}`));
  expect(others.filter(Boolean)).toHaveLength(5);
});

test("a place that is given back can be taken again", () => {
  const budget = new HandshakeBudget(1);
  expect(budget.enter("192.0.2.1")).toBe(true);
  expect(budget.enter("192.0.2.1")).toBe(false);
  budget.leave("192.0.2.1");
  expect(budget.enter("192.0.2.2")).toBe(true);
});

test.each([
  {
    name: "addresses of one IPv6 network",
    hosts: ["2001:db8::1", "2001:db8:0:0:5::", "2001:db8::ffff:9"],
    same: true,
  },
  { name: "addresses of two IPv6 networks", hosts: ["2001:db8:0:1::1", "2001:db8:0:2::1"], same: false },
  { name: "an IPv4 address and its mapped form", hosts: ["192.0.2.1", "::ffff:192.0.2.1"], same: true },
  { name: "loopback and another", hosts: ["::1", "fe80::1"], same: false },
])("$name are told apart or not as they should be", ({ hosts, same }) => {
  const budget = new HandshakeBudget(8);
  for (let i = 0; i < 4; i++) expect(budget.enter(hosts[i % hosts.length]!)).toBe(true);
  expect(budget.enter(hosts[0]!)).toBe(!same);
});
