import { RksError, parseJoinToken, silentLogger } from "@rk8s/protocol";
import { FakeClock } from "@rk8s/protocol/testing";
import { expect, test } from "vitest";
import { FakeRks, refusal, type FakeRksInit } from "../testing/fake-rks.js";
import { TestCa } from "../testing/test-ca.js";
import { type JoinWalkInit, walkJoin } from "./join-walk.js";

/** What each check said, in order: `clock ok`, `join token fail JOIN_TOKEN_USED`. */
async function walked(options: Partial<FakeRksInit> = {}, init: Partial<JoinWalkInit> = {}) {
  const clock = new FakeClock();
  await using rks = await FakeRks.start({ clock, ...options });
  const found: string[] = [];
  const remedies: (string | undefined)[] = [];
  const walk = walkJoin(
    {
      rksAddress: rks.address,
      joinToken: parseJoinToken(rks.joinToken),
      nodeName: "worker-1",
      role: "node",
      ...init,
    },
    { transport: rks.transport, clock, logger: silentLogger, random: () => 0.5 },
  );
  for await (const { check, status, code, remedy } of walk) {
    found.push([check, status, ...(code === undefined ? [] : [code])].join(" "));
    if (status === "fail") remedies.push(remedy);
  }
  return { found, remedies, requests: rks.requests.map(({ type }) => type) };
}

test("a join that would work is walked to its end and uses up nothing", async () => {
  const { found, requests } = await walked();
  expect(found).toEqual([
    "address ok",
    "resolve ok",
    "udp path ok",
    "clock ok",
    "name ok",
    "root ok",
    "greeting ok",
    "clock skew ok",
    "mtu ok",
    "join token ok",
  ]);
  expect(requests).toContain("CheckJoin");
  expect(requests).not.toContain("CertificateSign");
});

test("what the token is refused with is what the doctor says, with the control plane's own remedy", async () => {
  const answer: FakeRksInit["answer"] = ({ message }) =>
    message.type === "CheckJoin"
      ? { type: "Error", ...new RksError("JOIN_TOKEN_USED", "used", { suggestion: "Ask." }).toJSON() }
      : undefined;
  const { found, remedies } = await walked({ answer });
  expect(found.at(-1)).toBe("join token fail JOIN_TOKEN_USED");
  expect(remedies).toEqual(["Ask."]);
});

test("a control plane that does not know the question is not asked in a way that uses the token", async () => {
  const answer: FakeRksInit["answer"] = ({ message }) =>
    message.type === "CheckJoin" ? refusal("MESSAGE_UNKNOWN") : undefined;
  const { found, requests } = await walked({ answer });
  expect(found.at(-1)).toBe("join token skip");
  expect(requests).not.toContain("CertificateSign");
});

test("after the first failure the rest says what it needs", async () => {
  const { found } = await walked({}, { rksAddress: "nowhere" });
  expect(found[0]).toBe("address fail USAGE_INVALID");
  expect(found.slice(1).every((line) => line.endsWith(" skip"))).toBe(true);
});

test("another cluster's server is found out by the pin", async () => {
  const clock = new FakeClock();
  const other = new TestCa({ nowMs: clock.now() }).joinToken().text;
  const { found } = await walked({}, { joinToken: parseJoinToken(other) });
  expect(found).toContain("root fail CA_PIN_MISMATCH");
});

test("another server's certificate is found out by its name", async () => {
  const { found } = await walked({ serverLeaf: { dnsNames: ["www.example"], commonName: "www.example" } });
  expect(found).toContain("name fail SERVER_NAME_MISMATCH");
});

test("a clock beyond the certificate's dates is named before anything else that it breaks", async () => {
  const clock = new FakeClock();
  await using rks = await FakeRks.start({ clock });
  const late = new FakeClock({ now: clock.now() + 2000 * 3_600_000 });
  const ports = { transport: rks.transport, clock: late, logger: silentLogger, random: () => 0.5 };
  const init = { rksAddress: rks.address, joinToken: parseJoinToken(rks.joinToken), nodeName: undefined };
  const failed = [];
  for await (const { check, code } of walkJoin({ ...init, role: "node" }, ports)) {
    if (code !== undefined) failed.push(`${check} ${code}`);
  }
  expect(failed).toEqual(["clock CLOCK_SKEW"]);
});

test("without a token the path and the server are still looked at", async () => {
  const clock = new FakeClock();
  const ca = new TestCa({ nowMs: clock.now() });
  const { found } = await walked({ ca }, { joinToken: undefined, rootCertificates: [ca.root] });
  expect(found.at(-1)).toBe("join token skip");
  expect(found.filter((line) => line.endsWith(" ok"))).toHaveLength(9);
});
