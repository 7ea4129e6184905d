import { expect, test } from "vitest";
import { KeyMaker } from "./key-maker.js";

const RSA_TIMEOUT_MS = 60_000;
const rsa = { type: "rsa", bits: 2048 } as const;

test(
  "RSA keys are made beside the event loop, and EC keys do not wait for them",
  { timeout: RSA_TIMEOUT_MS },
  async () => {
    const maker = new KeyMaker();
    const finished: string[] = [];
    const slow = maker.create(rsa).then((pair) => {
      finished.push("rsa");
      return pair;
    });
    await maker.create({ type: "ec", bits: 256 });
    finished.push("ec");
    expect((await slow).privateKey.asymmetricKeyDetails?.modulusLength).toBe(2048);
    expect(finished).toEqual(["ec", "rsa"]);
  },
);

test("who would wait behind 128 keys is told to come back", { timeout: RSA_TIMEOUT_MS }, async () => {
  let running = 0;
  let most = 0;
  let release: (() => void) | undefined;
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const maker = new KeyMaker(async () => {
    running += 1;
    most = Math.max(most, running);
    await gate;
    running -= 1;
    return new KeyMaker().create({ type: "ec", bits: 256 });
  });
  const waiting = Array.from({ length: 130 }, () => maker.create(rsa));
  await expect(maker.create(rsa)).rejects.toMatchObject({ code: "BUSY" });
  release?.();
  await Promise.all(waiting);
  expect(most).toBe(2);
  await expect(maker.create(rsa)).resolves.toHaveProperty("spki");
});
