import { createSocket } from "node:dgram";
import { once } from "node:events";
import { silentLogger } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import { bindPatiently } from "./patient-bind.js";
import { UdpSocket } from "./udp-socket.js";

const inUse = (): Error => Object.assign(new Error("bind EADDRINUSE"), { code: "EADDRINUSE" });

test("a port that another socket of this machine has is had as soon as that is closed", async () => {
  const other = createSocket("udp4");
  other.bind(0, "0.0.0.0");
  await once(other, "listening");
  const { port } = other.address();
  const clock = new FakeClock();
  const bound = bindPatiently(
    () => UdpSocket.open({ host: "127.0.0.1", port, onDatagram: () => undefined }),
    "there",
    { clock, logger: silentLogger },
  );
  await clock.nextSleep();
  other.close();
  await once(other, "close");
  clock.advance(100);
  const socket = await bound;
  expect(socket.local.port).toBe(port);
  await socket.close();
});

test("one that stays taken is an error after 3 s, and it was said once that it is waited for", async () => {
  const clock = new FakeClock();
  const said: string[] = [];
  const logger = { ...silentLogger, warn: (message: string) => void said.push(message) };
  let attempts = 0;
  const bound = bindPatiently(() => Promise.reject(((attempts += 1), inUse())), "there", { clock, logger });
  let waited = 0;
  void (async () => {
    for (; waited < 3_000; waited += 100) {
      await clock.nextSleep();
      clock.advance(100);
    }
  })();
  await expect(bound).rejects.toMatchObject({ code: "EADDRINUSE" });
  expect([attempts, waited, said.length]).toEqual([31, 3_000, 1]);
});

test("another error is told at once", async () => {
  const reason = Object.assign(new Error("no such address"), { code: "EADDRNOTAVAIL" });
  const ports = { clock: new FakeClock(), logger: silentLogger };
  await expect(bindPatiently(() => Promise.reject(reason), "there", ports)).rejects.toBe(reason);
});
