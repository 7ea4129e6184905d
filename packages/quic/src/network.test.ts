import { expect, test } from "vitest";
import { networkOf } from "./network.js";

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
  expect(new Set(hosts.map((host) => networkOf(host))).size === 1).toBe(same);
});
