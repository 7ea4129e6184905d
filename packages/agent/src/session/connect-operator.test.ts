import { FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import { FakeRks, refusal, type FakeRksInit } from "../testing/fake-rks.js";
import { connectOperator } from "./connect-operator.js";

async function setUp(init: Partial<FakeRksInit> = {}) {
  const clock = new FakeClock();
  const rks = await FakeRks.start({ clock, ...init });
  const operate = async () =>
    connectOperator({
      rksAddress: rks.address,
      joinToken: rks.joinToken,
      transport: rks.transport,
      clock,
      random: () => 0.5,
    });
  return { clock, rks, operate };
}

test("an operator's token becomes a connection that answers", async () => {
  const { clock, rks, operate } = await setUp();
  await using connection = await operate();
  expect(await connection.request({ type: "ListNodes" }, "NodeList")).toEqual({
    type: "NodeList",
    nodes: [],
  });
  expect(rks.connections).toHaveLength(2);
  expect(rks.requests[1]).toMatchObject({ type: "CertificateSign", role: "operator" });
  expect(clock.pendingSleeps).toBe(0);
});

test("a silent control plane is given up after ten seconds", async () => {
  const { clock, rks, operate } = await setUp({ answer: () => "silence" });
  const connection = operate();
  await rks.received("Hello");
  clock.advance(10_000);
  await expect(connection).rejects.toMatchObject({ code: "TIMED_OUT" });
});

test("a passing trouble is tried again", async () => {
  let refusals = 2;
  const { clock, operate } = await setUp({
    answer: ({ message }) =>
      message.type === "CertificateSign" && refusals-- > 0 ? refusal("VAULT_SEALED") : undefined,
  });
  const connecting = operate();
  for (const ms of [750, 1250]) {
    while ((await clock.nextSleep()) !== ms);
    clock.advance(ms);
  }
  await using connection = await connecting;
  expect(connection.version).toBe(1);
});

test("a token for another role is refused at once", async () => {
  const { rks, operate } = await setUp({
    answer: ({ message }) => (message.type === "CertificateSign" ? refusal("JOIN_TOKEN_SCOPE") : undefined),
  });
  await expect(operate()).rejects.toMatchObject({ code: "JOIN_TOKEN_SCOPE" });
  expect(rks.connections).toHaveLength(1);
});
