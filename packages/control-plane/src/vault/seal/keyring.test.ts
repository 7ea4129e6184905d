import { expect, test } from "vitest";

import { Keyring } from "./keyring.js";

test("a keyring written and read encrypts under the same terms", () => {
  const keyring = Keyring.create(7).rotated(9);
  const again = Keyring.parse(keyring.serialize());
  expect([again.activeTerm, again.activeSinceMs]).toEqual([2, 9]);
  const record = keyring.encrypt("path", 1, Buffer.from("value"));
  expect(Buffer.from(again.decrypt("path", record) ?? []).toString()).toBe("value");
});

test("a keyring that was zeroed decrypts nothing", () => {
  const keyring = Keyring.create(0);
  const record = keyring.encrypt("path", 1, Buffer.from("value"));
  keyring.zero();
  expect(keyring.decrypt("path", record)).toBeUndefined();
});

test.each([
  { name: "nothing", bytes: [] },
  { name: "an unknown format", bytes: [2, 0, 1, ...Array.from({ length: 42 }, () => 0)] },
  { name: "no keys", bytes: [1, 0, 0] },
  { name: "too few bytes", bytes: [1, 0, 1, 9] },
])("$name is not a keyring", ({ bytes }) => {
  expect(() => Keyring.parse(Uint8Array.from(bytes))).toThrow(
    expect.objectContaining({ code: "STORAGE_CORRUPT" }),
  );
});
