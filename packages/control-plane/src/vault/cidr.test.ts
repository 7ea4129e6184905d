import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isInNetwork, normalizeCidr } from "./cidr.js";

describe("isInNetwork", () => {
  test.each([
    { host: "10.1.2.3", cidr: "10.0.0.0/8", inside: true },
    { host: "11.1.2.3", cidr: "10.0.0.0/8", inside: false },
    { host: "10.1.2.3", cidr: "10.1.2.3", inside: true },
    { host: "10.1.2.4", cidr: "10.1.2.3/32", inside: false },
    { host: "::ffff:10.1.2.3", cidr: "10.0.0.0/8", inside: true },
    { host: "10.1.2.3", cidr: "::ffff:10.0.0.0/104", inside: true },
    { host: "fd00::1", cidr: "fd00::/8", inside: true },
    { host: "fe80::1%eth0", cidr: "fe80::/10", inside: true },
    { host: "::1", cidr: "0.0.0.0/0", inside: false },
    { host: "127.0.0.1", cidr: "::/0", inside: false },
    { host: "worker-1", cidr: "0.0.0.0/0", inside: false },
    { host: "0x0a000001", cidr: "10.0.0.0/8", inside: false },
    { host: "10.1", cidr: "10.0.0.0/8", inside: false },
  ])("$host in $cidr: $inside", ({ host, cidr, inside }) => {
    expect(isInNetwork(host, cidr)).toBe(inside);
  });
});

describe("normalizeCidr", () => {
  test.each([
    { text: "10.1.2.3/8", is: "10.0.0.0/8" },
    { text: "10.1.2.3", is: "10.1.2.3/32" },
    { text: "FD00::1/64", is: "fd00::/64" },
    { text: "::1", is: "::1/128" },
    { text: "::ffff:10.1.2.3/104", is: "10.0.0.0/8" },
  ])("$text is $is", ({ text, is }) => {
    expect(normalizeCidr(text)).toBe(is);
  });

  test.each([
    "",
    "10",
    "10.0.0.0/33",
    "10.0.0.0/-1",
    "10.0.0.0/8/8",
    "fd00::/129",
    "localhost/8",
    "010.0.0.1",
    "::ffff:10.0.0.0/8",
  ])("%j is refused", (text) => {
    expect(() => normalizeCidr(text)).toThrow(expect.objectContaining({ code: "INPUT_INVALID" }) as Error);
  });

  test("an address lies in every network made from it", () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), fc.nat(128), (host, length) => {
        const cidr = normalizeCidr(`${host}/${host.includes(":") ? Math.max(96, length) : length % 33}`);
        expect(isInNetwork(host, cidr)).toBe(true);
        expect(normalizeCidr(cidr)).toBe(cidr);
      }),
    );
  });
});
