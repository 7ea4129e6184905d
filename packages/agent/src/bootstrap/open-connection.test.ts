import { createHash } from "node:crypto";
import type { Credentials } from "@rk8s/protocol";
import { createMemoryTransport, FakeClock } from "@rk8s/protocol/testing";
import { parseCertificate } from "@rk8s/x509";
import { expect, test } from "vitest";
import { completePorts } from "../ports.js";
import { FakeRks } from "../testing/fake-rks.js";
import { TestCa, type TestLeaf } from "../testing/test-ca.js";
import { parseRksAddress } from "./address.js";
import { openConnection } from "./open-connection.js";

const clock = new FakeClock();
const nowMs = clock.now();
const ca = (commonName: string): TestCa => new TestCa({ nowMs, commonName });

/** Presents leaves that another authority has issued, with these certificates behind them. */
class Presenting extends TestCa {
  readonly #issuer: TestCa;
  readonly #chain: readonly Uint8Array[];

  constructor(issuer: TestCa, chain: readonly Uint8Array[]) {
    super({ nowMs });
    this.#issuer = issuer;
    this.#chain = chain;
  }

  override serverCredentials(leaf: Partial<TestLeaf> & { readonly nowMs: number }): Credentials {
    const { certificateChain, privateKey } = this.#issuer.serverCredentials(leaf);
    return { certificateChain: [certificateChain[0]!, ...this.#chain], privateKey };
  }
}

const root = ca("root");
const intermediate = ca("intermediate");
const below = root.crossSign(intermediate);
const lower = ca("an authority below the intermediate");
const pretender = new TestCa({ nowMs, commonName: "a leaf that signs", isCa: false });
const other = ca("another root");

/** What becomes of a connection to a server with this chain, whatever TLS thinks of it. */
async function outcome(
  issuer: TestCa,
  chain: readonly Uint8Array[],
  refused: readonly Uint8Array[] = [],
): Promise<string> {
  const transport = createMemoryTransport({ verify: () => undefined });
  await using rks = await FakeRks.start({ clock, transport, ca: new Presenting(issuer, chain) });
  const ports = await completePorts({ clock, transport });
  const refusedIssuers = refused.map((der) =>
    createHash("sha256").update(parseCertificate(der).spki).digest(),
  );
  const init = { address: parseRksAddress(rks.address), roots: [root.root], refusedIssuers };
  const asked = openConnection(init, { ports, signal: undefined });
  return await asked.then(
    async ({ connection }) => connection.close().then(() => "greeted"),
    (reason: { code: string }) => reason.code,
  );
}

test.each([
  { name: "of the root itself", issuer: root, chain: [root.root], becomes: "greeted" },
  { name: "of its intermediate", issuer: intermediate, chain: [below, root.root], becomes: "greeted" },
  {
    name: "of an intermediate of a root that the trusted one has signed",
    issuer: intermediate,
    chain: [other.crossSign(intermediate), root.crossSign(other), root.root, other.root],
    becomes: "greeted",
  },
  {
    name: "of an intermediate of another root",
    issuer: intermediate,
    chain: [other.crossSign(intermediate), other.root],
  },
  { name: "of an intermediate that is not there", issuer: intermediate, chain: [root.root] },
  { name: "signed by a leaf", issuer: pretender, chain: [pretender.root, root.root] },
  {
    name: "with a longer chain",
    issuer: lower,
    chain: [intermediate.crossSign(lower), other.crossSign(intermediate), root.crossSign(other), root.root],
  },
])("a server $name: $becomes", async ({ issuer, chain, becomes = "SERVER_UNTRUSTED" }) => {
  expect(await outcome(issuer, chain)).toBe(becomes);
});

test("a server of a tainted intermediate is refused, one of another intermediate is not", async () => {
  const chain = [below, root.root];
  expect(await outcome(intermediate, chain, [below])).toBe("SERVER_UNTRUSTED");
  expect(await outcome(intermediate, chain, [root.crossSign(other)])).toBe("greeted");
  expect(await outcome(root, [root.root], [below])).toBe("greeted");
});
