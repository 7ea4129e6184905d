import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { requestCertificate } from "@rk8s/agent";
import { IssueCertificateResponse, memoryStorage, openVault } from "@rk8s/control-plane";
import {
  CLOSE_CODES,
  type ConnectionEnd,
  type Credentials,
  encodeFrame,
  encodeMessage,
  formatJoinToken,
  LIMITS,
  MESSAGE_SCHEMAS,
  type MessageType,
  parseJoinToken,
  type RksMessage,
  Secret,
} from "@rk8s/protocol";
import { aNodeStatus, aPodManifest, aPodStatus } from "@rk8s/protocol/testing";
import { arbitraryMessageOf } from "@rk8s/protocol/testing/arbitraries";
import { OID } from "@rk8s/x509";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { applyPod, clusterState, newToken } from "./harness/ask-rks.js";
import { Cluster, type MintedToken } from "./harness/cluster.js";
import { FakeRks } from "./harness/fake-rks.js";
import { Forger, type ForgedLeaf } from "./harness/forger.js";
import { type Application, credentialsOf, join, RawAgent, refusalOf } from "./harness/raw-agent.js";
import { aKey, anEd448Key, anRsaKey, aRequest, type RawKey, type RawRequest } from "./harness/raw-request.js";

let cluster: Cluster;
/** The cluster's own CA key, stolen: what its certificates cannot do even so. */
let thief: Forger;
let names = 0;

beforeAll(async () => {
  cluster = await Cluster.start({ tls_config: { vault_folder: "./data", keep_dangerous_files: true } });
  thief = await Forger.ofCluster(cluster);
  patience = beginToWait(await newToken(cluster));
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

/** A name that no node has yet. */
function aName(): string {
  return `worker-${++names}`;
}

/** A node by hand: its name, its key, and what it presents. */
interface RawNode {
  readonly name: string;
  readonly key: RawKey;
  readonly credentials: () => Credentials;
}

async function aNode(): Promise<RawNode> {
  const [name, key] = [aName(), aKey()];
  const { token } = await newToken(cluster);
  const certificate = await join(cluster, { token, csr: aRequest({ key }), nodeName: name });
  return { name, key, credentials: () => credentialsOf(certificate, key.pkcs8) };
}

/** What is refused, refused with this code, and without a trace in nodes, tokens and pods. */
async function expectRefusal(code: string, attempt: () => Promise<unknown>): Promise<void> {
  const before = await clusterState(cluster);
  expect(await refusalOf(attempt())).toBe(code);
  expect(await clusterState(cluster)).toEqual(before);
}

/**
 * The same for a join: with a token of its own, which is good afterwards for the same application made right. `attempt` gets what would
 * be accepted.
 */
async function expectNoJoin(
  code: string,
  attempt: (right: Application, token: MintedToken) => Promise<unknown>,
): Promise<void> {
  const token = await newToken(cluster);
  const nodeName = aName();
  const right = { token: token.token, csr: aRequest({ key: aKey() }), nodeName };
  await expectRefusal(code, () => attempt(right, token));
  expect(await join(cluster, right)).toMatchObject({ nodeName });
}

describe("a server that is not the token's", () => {
  test("a server with another root is not talked to", async () => {
    const roots = [Forger.foreign("rk8s cluster root").root];
    await expectRefusal("SERVER_UNTRUSTED", () => RawAgent.dial(cluster, { roots }));
  });

  test("a server of another name is not talked to", async () => {
    await expectRefusal("SERVER_NAME_MISMATCH", () => RawAgent.dial(cluster, { serverName: "rks-other" }));
  });

  test("a root that the token does not pin is refused before anything is sent", async () => {
    const { token } = await newToken(cluster);
    const foreign = Forger.foreign("rk8s cluster root");
    await using fake = await FakeRks.open(foreign.credentials(RIGHT_SERVER));
    const attempt = { rksAddress: fake.address, joinToken: token, rootCertificates: [foreign.root] };
    await expectRefusal("CA_PIN_MISMATCH", () => requestCertificate({ ...attempt, maxAttempts: 1 }));
    expect(fake.heard).toBe(0);
  });

  const RIGHT_SERVER: ForgedLeaf = {
    commonName: "rks-cluster",
    dnsNames: ["rks-cluster"],
    extendedKeyUsage: [OID.serverAuth],
  };
  const SERVERS: readonly { name: string; code: string; leaf: Partial<ForgedLeaf> }[] = [
    { name: "for another name", code: "SERVER_NAME_MISMATCH", leaf: { commonName: "x", dnsNames: ["x"] } },
    { name: "for all names", code: "SERVER_NAME_MISMATCH", leaf: { dnsNames: ["*"] } },
    { name: "of another common name", code: "SERVER_NAME_MISMATCH", leaf: { commonName: "worker-1" } },
    {
      name: "with its address alone",
      code: "SERVER_NAME_MISMATCH",
      leaf: { dnsNames: [], uris: ["spiffe://rk8s.local/rks"] },
    },
    { name: "for no use", code: "SERVER_UNTRUSTED", leaf: { extendedKeyUsage: [] } },
    { name: "for clients", code: "SERVER_UNTRUSTED", leaf: { extendedKeyUsage: [OID.clientAuth] } },
    {
      name: "for servers and clients",
      code: "SERVER_UNTRUSTED",
      leaf: { extendedKeyUsage: [OID.serverAuth, OID.clientAuth] },
    },
    // Whose clock is wrong cannot be known from here; nothing is sent either way.
    { name: "that has expired", code: "CLOCK_SKEW", leaf: { lifetimeMs: -5_000 } },
  ];
  test.each(SERVERS)("a fake rks with a certificate $name hears no word", async ({ code, leaf }) => {
    const { token } = await newToken(cluster);
    await using fake = await FakeRks.open(thief.credentials({ ...RIGHT_SERVER, ...leaf }));
    const attempt = { rksAddress: fake.address, joinToken: token, nodeName: aName(), maxAttempts: 1 };
    await expectRefusal(code, () => requestCertificate({ ...attempt, rootCertPath: cluster.rootCertPath }));
    await expectRefusal(code, () => requestCertificate(attempt));
    expect(fake.heard).toBe(0);
  });

  test("a fake rks that presents a worker's certificate hears no word", async () => {
    const { token } = await newToken(cluster);
    const { certificateChain, privateKey } = (await aNode()).credentials();
    await using fake = await FakeRks.open({
      certificateChain: [...certificateChain, thief.root],
      privateKey,
    });
    const attempt = { rksAddress: fake.address, joinToken: token, nodeName: aName(), maxAttempts: 1 };
    const withRoot = { ...attempt, rootCertPath: cluster.rootCertPath };
    await expectRefusal("SERVER_UNTRUSTED", () => requestCertificate(withRoot));
    await expectRefusal("SERVER_UNTRUSTED", () => requestCertificate(attempt));
    expect(fake.heard).toBe(0);
  });
});

describe("a client certificate that is not a node's current one", () => {
  /** Present it and say Hello: the answer confirms what the server thinks of it. */
  async function present(credentials: Credentials): Promise<unknown> {
    await using agent = await RawAgent.dial(cluster, { credentials });
    return await agent.greet();
  }

  function leafOf(name: string): ForgedLeaf {
    const uris = [`spiffe://rk8s.local/node/${name}`];
    return { commonName: name, uris, extendedKeyUsage: [OID.clientAuth] };
  }

  test("a foreign CA of the same name is refused", async () => {
    const { name } = await aNode();
    const foreign = Forger.foreign("rk8s cluster root");
    await expectRefusal("CLIENT_CERTIFICATE_REFUSED", () => present(foreign.credentials(leafOf(name))));
  });

  const FORGED: readonly { name: string; code: string; leaf: (node: string) => Partial<ForgedLeaf> }[] = [
    { name: "right but for its serial and key", code: "CERTIFICATE_REVOKED", leaf: () => ({}) },
    { name: "of an unknown node", code: "NODE_EVICTED", leaf: () => leafOf("nobody") },
    { name: "for no use", code: "CLIENT_CERTIFICATE_REFUSED", leaf: () => ({ extendedKeyUsage: [] }) },
    {
      name: "for servers",
      code: "CLIENT_CERTIFICATE_REFUSED",
      leaf: () => ({ extendedKeyUsage: [OID.serverAuth] }),
    },
    {
      name: "for clients and servers",
      code: "CLIENT_CERTIFICATE_REFUSED",
      leaf: () => ({ extendedKeyUsage: [OID.clientAuth, OID.serverAuth] }),
    },
    {
      name: "without a URI",
      code: "CLIENT_CERTIFICATE_REFUSED",
      leaf: () => ({ uris: [], dnsNames: ["a"] }),
    },
    {
      name: "with two URIs",
      code: "CLIENT_CERTIFICATE_REFUSED",
      leaf: (node) => ({ uris: [...leafOf(node).uris!, "spiffe://rk8s.local/node/other"] }),
    },
    {
      name: "with a DNS name besides",
      code: "CLIENT_CERTIFICATE_REFUSED",
      leaf: () => ({ dnsNames: ["rks-cluster"] }),
    },
    {
      name: "of another trust domain",
      code: "CLIENT_CERTIFICATE_REFUSED",
      leaf: (node) => ({ uris: [`spiffe://other.local/node/${node}`] }),
    },
    {
      name: "whose common name is another node's",
      code: "CLIENT_CERTIFICATE_REFUSED",
      leaf: () => ({ commonName: "other" }),
    },
    {
      name: "of an operator without a token",
      code: "CLIENT_CERTIFICATE_REFUSED",
      leaf: () => ({ commonName: "0".repeat(16), uris: [`spiffe://rk8s.local/operator/${"0".repeat(16)}`] }),
    },
    { name: "that has expired", code: "CLIENT_CERTIFICATE_REFUSED", leaf: () => ({ lifetimeMs: -5_000 }) },
    {
      name: "of the control plane itself",
      code: "CLIENT_CERTIFICATE_REFUSED",
      leaf: () => ({ commonName: "rks-cluster", uris: [], dnsNames: ["rks-cluster"] }),
    },
  ];
  test.each(FORGED)("a certificate of the cluster's CA $name is refused", async ({ code, leaf }) => {
    const { name } = await aNode();
    const credentials = thief.credentials({ ...leafOf(name), ...leaf(name) });
    await expectRefusal(code, () => present(credentials));
  });

  test("an operator's certificate for a node's token is refused", async () => {
    const { id } = await newToken(cluster);
    const credentials = thief.credentials({
      commonName: id,
      uris: [`spiffe://rk8s.local/operator/${id}`],
      extendedKeyUsage: [OID.clientAuth],
    });
    await expectRefusal("CLIENT_CERTIFICATE_REFUSED", () => present(credentials));
  });

  const USES: readonly { name: string; role: object }[] = [
    { name: "without EKU", role: { client_flag: false, server_flag: false } },
    { name: "for clients", role: { client_flag: true, server_flag: false } },
  ];
  test.each(USES)("a leaf $name from a user's PKI mount, of the right name, is refused", async ({ role }) => {
    const { name } = await aNode();
    const [uri] = leafOf(name).uris!;
    await using storage = memoryStorage();
    await using vault = await openVault({ storage });
    const { shares, rootToken } = await vault.init({ shares: 1, threshold: 1 });
    await vault.unseal(shares[0]!);
    await vault.write(rootToken, "sys/mounts/pki", { type: "pki" });
    await vault.write(rootToken, "pki/root/generate/internal", {
      common_name: "rk8s cluster root",
      ttl: "1h",
    });
    const rules = { allow_any_name: true, allowed_uri_sans: "*", key_usage: "DigitalSignature", ...role };
    await vault.write(rootToken, "pki/roles/any", { ...rules, key_type: "ec", key_bits: 256 });
    const request = { common_name: name, uri_sans: uri!, exclude_cn_from_sans: true, ttl: "30m" };
    const answer = await vault.write(rootToken, "pki/issue/any", request);
    const leaf = new IssueCertificateResponse(answer?.data ?? {});

    await expectRefusal("CLIENT_CERTIFICATE_REFUSED", () => present(leaf.toCredentials()));
  });
});

/** One small message of a type, with made-up contents. */
function aMessage(type: MessageType): RksMessage {
  const samples: RksMessage[] = fc.sample<RksMessage>(arbitraryMessageOf[type], { numRuns: 20, seed: 1 });
  return samples.toSorted((a, b) => encodeMessage(a).length - encodeMessage(b).length)[0]!;
}

const ALL_MESSAGES = Object.keys(MESSAGE_SCHEMAS) as MessageType[];
function allBut(...types: readonly MessageType[]): MessageType[] {
  return ALL_MESSAGES.filter((type) => !types.includes(type));
}

describe("a message from who may not send it", () => {
  const STRANGER_MAY = ["Hello", "CertificateSign", "CheckJoin", "CertificateRecover"] as const;
  test.each(allBut(...STRANGER_MAY))("a bootstrapping agent may not send %s", async (type) => {
    await using agent = await RawAgent.dial(cluster);
    await expectRefusal("PERMISSION_DENIED", () => agent.ask(aMessage(type)));
    await agent.greet();
    await expectRefusal("PERMISSION_DENIED", () => agent.ask(aMessage(type)));
  });

  test("CertificateSign before Hello is unexpected", async () => {
    await expectNoJoin("MESSAGE_UNEXPECTED", async (right) => {
      await using agent = await RawAgent.dial(cluster);
      await using other = await RawAgent.dial(cluster);
      const message = agent.application(await other.greet(), right);
      await agent.ask(message);
    });
  });

  const NODE_MAY: readonly MessageType[] = ["Hello", "RegisterNode"];
  const REGISTERED_NODE_MAY: readonly MessageType[] = [
    ...NODE_MAY,
    ...(["Heartbeat", "UpdatePodStatus", "NodeStopping", "CertificateRenew", "EnrolRecovery"] as const),
  ];
  test("a node may send nothing that is an operator's, the server's or a stranger's", async () => {
    const { name, credentials } = await aNode();
    await using agent = await RawAgent.dial(cluster, { credentials: credentials() });
    await agent.greet();
    for (const type of allBut(...NODE_MAY)) {
      await expectRefusal("PERMISSION_DENIED", () => agent.ask(aMessage(type)));
    }
    await agent.ask(registration(name));
    for (const type of allBut(...REGISTERED_NODE_MAY)) {
      await expectRefusal("PERMISSION_DENIED", () => agent.ask(aMessage(type)));
    }
    expect((await agent.ask({ type: "Heartbeat", status: aNodeStatus() })).message.type).toBe("Ack");
  });

  test("a node may not register under another name", async () => {
    const [node, victim] = [await aNode(), await aNode()];
    await using agent = await RawAgent.dial(cluster, { credentials: node.credentials() });
    await agent.greet();
    await expectRefusal("PERMISSION_DENIED", () => agent.ask(registration(victim.name)));
    await expectRefusal("PERMISSION_DENIED", () => agent.ask({ type: "Heartbeat", status: aNodeStatus() }));
  });

  test("a node may not say how another node's pod is", async () => {
    const [node, victim] = [await aNode(), await aNode()];
    const key = { namespace: "default", name: `of-${victim.name}` };
    const manifest = aPodManifest({ ...key, nodeName: victim.name });
    const { uid } = (await applyPod(cluster, manifest)).metadata;
    await using agent = await RawAgent.dial(cluster, { credentials: node.credentials() });
    await agent.greet();
    await agent.ask(registration(node.name));

    const status = aPodStatus({ phase: "Failed" });
    await expectRefusal("PERMISSION_DENIED", () =>
      agent.ask({ type: "UpdatePodStatus", ...key, uid, status }),
    );
    // Nor by reporting it as its own when it registers.
    const before = await clusterState(cluster);
    await agent.ask({ ...registration(node.name), pods: [{ ...key, uid, status }] });
    expect(await clusterState(cluster)).toEqual(before);
  });

  test("an operator is no node", async () => {
    const { token } = await newToken(cluster, { role: "operator" });
    const key = aKey();
    const certificate = await join(cluster, { token, csr: aRequest({ key }), role: "operator" });
    const credentials = credentialsOf(certificate, key.pkcs8);
    await using operator = await RawAgent.dial(cluster, { credentials });
    await operator.greet();
    const may = [
      "ApplyPod",
      "GetPod",
      "ListPods",
      "DeletePod",
      "GetPodLogs",
      "GetNode",
      "ListNodes",
    ] as const;
    for (const type of allBut("Hello", ...may)) {
      await expectRefusal("PERMISSION_DENIED", () => operator.ask(aMessage(type)));
    }
    expect((await operator.ask({ type: "ListNodes" })).message.type).toBe("NodeList");
  });
});

function registration(nodeName: string): Extract<RksMessage, { type: "RegisterNode" }> {
  return { type: "RegisterNode", nodeName, version: "raw/1", status: aNodeStatus(), pods: [] };
}

describe("a certification request", () => {
  const REQUESTS: readonly { name: string; code: string; request: (node: string) => Partial<RawRequest> }[] =
    [
      { name: "signed by another key", code: "CSR_INVALID", request: () => ({ signer: aKey() }) },
      {
        name: "with an RSA key of 1024 bits",
        code: "KEY_TOO_WEAK",
        request: () => ({ key: anRsaKey(1024) }),
      },
      {
        name: "with an RSA key of exponent 3",
        code: "KEY_TOO_WEAK",
        request: () => ({ key: anRsaKey(2048, 3) }),
      },
      { name: "with a P-192 key", code: "KEY_TOO_WEAK", request: () => ({ key: aKey("prime192v1") }) },
      { name: "with a secp256k1 key", code: "KEY_TOO_WEAK", request: () => ({ key: aKey("secp256k1") }) },
      { name: "with an Ed448 key", code: "KEY_TOO_WEAK", request: () => ({ key: anEd448Key() }) },
      { name: "for CA:TRUE", code: "CSR_INVALID", request: () => ({ isCa: true }) },
      { name: "with another's CN", code: "CSR_INVALID", request: () => ({ commonNames: ["worker-0"] }) },
      { name: "with two CNs", code: "CSR_INVALID", request: (n) => ({ commonNames: [n, "worker-0"] }) },
      {
        name: "with another's DNS name",
        code: "CSR_INVALID",
        request: () => ({ dnsNames: ["rks-cluster"] }),
      },
      {
        name: "with another node's URI",
        code: "CSR_INVALID",
        request: () => ({ uris: ["spiffe://rk8s.local/node/worker-0"] }),
      },
      {
        name: "with an operator's URI",
        code: "CSR_INVALID",
        request: (node) => ({ uris: [`spiffe://rk8s.local/operator/${node}`] }),
      },
    ];
  test.each(REQUESTS)("$name is refused", async ({ code, request }) => {
    await expectNoJoin(code, (right) => {
      const csr = aRequest({ key: aKey(), ...request(right.nodeName!) });
      return join(cluster, { ...right, csr });
    });
  });

  test("that is no DER is refused, before anybody asks who holds the token", async () => {
    await expectNoJoin("CSR_INVALID", (right) =>
      join(cluster, { ...right, csr: new Uint8Array(300).fill(0x30) }),
    );
  });

  const SIZES: readonly { name: string; code: string; bytes: number }[] = [
    { name: "10 KB", code: "MESSAGE_INVALID", bytes: 10_000 },
    { name: "1 MB", code: "MESSAGE_TOO_LARGE", bytes: 1_048_576 },
  ];
  test.each(SIZES)("of $name is refused by its size", async ({ code, bytes }) => {
    await expectNoJoin(code, async (right) => {
      await using agent = await RawAgent.dial(cluster);
      const csr = aRequest({ key: aKey(), bytes });
      const { type, ...application } = agent.application(await agent.greet(), { ...right, csr });
      const base64 = (field: Uint8Array): string => Buffer.from(field).toString("base64url");
      const body = { ...application, csr: base64(csr), proof: base64(application.proof) };
      await agent.throwBytes(encodeFrame("message", Buffer.from(JSON.stringify({ [type]: body }))));
    });
  });
});

describe("a proof", () => {
  const PROVEN: readonly { name: string; proven: () => NonNullable<Application["proven"]> }[] = [
    { name: "for another ALPN", proven: () => ({ alpn: "rks/2" }) },
    { name: "for another Hello", proven: () => ({ hello: randomBytes(80) }) },
    { name: "for another Welcome", proven: () => ({ welcome: randomBytes(200) }) },
    { name: "for another token id", proven: () => ({ tokenId: "0123456789abcdef" }) },
    { name: "for another server's key", proven: () => ({ serverLeafSpki: aKey().spki }) },
    { name: "for another request", proven: () => ({ csr: aRequest({ key: aKey() }) }) },
    { name: "for another node name", proven: () => ({ nodeName: "worker-0" }) },
    { name: "for no node name", proven: () => ({ nodeName: "" }) },
    { name: "for another role", proven: () => ({ role: "operator" }) },
  ];
  test.each(PROVEN)("$name is refused", async ({ proven }) => {
    await expectNoJoin("JOIN_TOKEN_INVALID", (right) => join(cluster, { ...right, proven: proven() }));
  });

  test("by another key is refused in the same words as an unknown token", async () => {
    await expectNoJoin("JOIN_TOKEN_INVALID", async (right) => {
      const parsed = parseJoinToken(right.token);
      const forged = { ...parsed, seed: new Secret(new Uint8Array(randomBytes(32))) };
      const unknown = { ...forged, id: randomBytes(8).toString("hex") };
      const answers: string[] = [];
      for (const token of [unknown, forged]) {
        const refused = await join(cluster, { ...right, token: formatJoinToken(token) }).catch(
          (e: Error) => e,
        );
        answers.push(JSON.stringify(refused).replaceAll(token.id, "ID"));
      }
      expect(answers[0]).toBe(answers[1]);
      return join(cluster, { ...right, token: formatJoinToken(forged) });
    });
  });

  test("for the role that the token does not have is out of its scope", async () => {
    await expectNoJoin("JOIN_TOKEN_SCOPE", ({ nodeName: _, ...right }) =>
      join(cluster, { ...right, role: "operator" }),
    );
  });

  test("is good on its own connection only", async () => {
    await expectNoJoin("JOIN_TOKEN_INVALID", async (right) => {
      await using first = await RawAgent.dial(cluster);
      await using second = await RawAgent.dial(cluster);
      const recorded = first.application(await first.greet(), right);
      await second.greet();
      await second.ask(recorded);
    });
  });

  test("that was accepted cannot be replayed by who recorded it", async () => {
    const { token, id } = await newToken(cluster, { uses: 2 });
    await using first = await RawAgent.dial(cluster);
    const application = { token, csr: aRequest({ key: aKey() }), nodeName: aName() };
    const recorded = first.application(await first.greet(), application);
    await first.ask(recorded);

    await expectRefusal("JOIN_TOKEN_INVALID", async () => {
      await using second = await RawAgent.dial(cluster);
      await second.greet();
      await second.ask(recorded);
    });
    await expectRefusal("NONCE_EXPIRED", () => first.ask(recorded));
    const { tokens } = await clusterState(cluster);
    expect(tokens.find((listed) => listed.id === id)).toMatchObject({ usedCount: 1 });
  });

  test("over a Welcome that a newer one has replaced is refused", async () => {
    await expectNoJoin("JOIN_TOKEN_INVALID", async (right) => {
      await using agent = await RawAgent.dial(cluster);
      const stale = agent.application(await agent.greet(), right);
      await agent.greet();
      await agent.ask(stale);
    });
  });

  test("is looked at once a Welcome, also when it was refused", async () => {
    await expectNoJoin("NONCE_EXPIRED", async (right) => {
      await using agent = await RawAgent.dial(cluster);
      const greeting = await agent.greet();
      const wrong = agent.application(greeting, { ...right, nodeName: "rks" });
      expect(await refusalOf(agent.ask(wrong))).toBe("NODE_NAME_INVALID");
      await agent.ask(agent.application(greeting, right));
    });
  });

  test("is not looked at for the fifth time on one connection", async () => {
    await expectNoJoin("BUSY", async (right) => {
      await using agent = await RawAgent.dial(cluster);
      for (let times = 0; times < 4; times++) {
        const wrong = agent.application(await agent.greet(), { ...right, nodeName: "rks" });
        expect(await refusalOf(agent.ask(wrong))).toBe("NODE_NAME_INVALID");
      }
      await agent.ask(agent.application(await agent.greet(), right));
    });
  });
});

describe("the wire", () => {
  const BYTES: readonly { name: string; code: string; bytes: () => Uint8Array }[] = [
    {
      name: "a frame above the limit of strangers",
      code: "MESSAGE_TOO_LARGE",
      bytes: () => encodeFrame("message", new Uint8Array(LIMITS.maxBootstrapMessageBytes)),
    },
    {
      name: "the head of a frame of 4 GB",
      code: "MESSAGE_TOO_LARGE",
      bytes: () => Buffer.from("ffffffff01", "hex"),
    },
    { name: "an empty frame", code: "FRAME_INVALID", bytes: () => new Uint8Array(4) },
    {
      name: "an unknown kind of frame",
      code: "FRAME_INVALID",
      bytes: () => Buffer.from("0000000203ff", "hex"),
    },
    {
      name: "raw bytes",
      code: "MESSAGE_UNEXPECTED",
      bytes: () => encodeFrame("bytes", Buffer.from("hello")),
    },
    { name: "half a frame", code: "MESSAGE_TRUNCATED", bytes: () => Buffer.from("00000100017b", "hex") },
    { name: "nothing", code: "MESSAGE_TRUNCATED", bytes: () => new Uint8Array(0) },
    { name: "what is no JSON", code: "MESSAGE_INVALID", bytes: () => framed("{") },
    { name: "JSON of no message", code: "MESSAGE_INVALID", bytes: () => framed("[1]") },
    { name: "an unknown message", code: "MESSAGE_UNKNOWN", bytes: () => framed('{"Teapot":{}}') },
    { name: "a name of every object", code: "MESSAGE_UNKNOWN", bytes: () => framed('{"constructor":{}}') },
    { name: "a message without its fields", code: "MESSAGE_INVALID", bytes: () => framed('{"Hello":{}}') },
  ];
  function framed(json: string): Uint8Array {
    return encodeFrame("message", Buffer.from(json));
  }
  test.each(BYTES)("$name is refused, and the connection goes on", async ({ code, bytes }) => {
    await using agent = await RawAgent.dial(cluster);
    await expectRefusal(code, () => agent.throwBytes(bytes()));
    expect((await agent.greet()).message.version).toBe(1);
  });

  test("a node may send larger messages than a stranger, and no larger ones than all", async () => {
    const { credentials } = await aNode();
    await using agent = await RawAgent.dial(cluster, { credentials: credentials() });
    await agent.greet();
    const oversized = encodeFrame("message", new Uint8Array(LIMITS.maxMessageBytes));
    await expectRefusal("MESSAGE_TOO_LARGE", () => agent.throwBytes(oversized));
    const large = encodeFrame("message", new Uint8Array(LIMITS.maxMessageBytes - 1).fill(0x20));
    await expectRefusal("MESSAGE_INVALID", () => agent.throwBytes(large));
    await agent.greet();
  });

  test("an unknown version of the protocol is refused, a known one beside it is taken", async () => {
    await using agent = await RawAgent.dial(cluster);
    await expectRefusal("VERSION_UNSUPPORTED", () => agent.greet({ versions: [99] }));
    expect((await agent.greet({ versions: [99, 1] })).message.version).toBe(1);
  });

  test("another application protocol is refused in the handshake", async () => {
    await expectRefusal("VERSION_UNSUPPORTED", () => RawAgent.dial(cluster, { alpn: "h3" }));
  });
});

/** How a connection ended, and how long after the first test that was. */
interface LateEnd {
  readonly end: ConnectionEnd;
  readonly afterMs: number;
}

/** Those who only wait: they begin before the first test, so that nobody waits for them. */
interface Patience {
  /** A CertificateSign on a Welcome of more than ten seconds ago, and its token's id. */
  readonly stale: Promise<{ readonly code: string; readonly id: string }>;
  /** What half a message is answered with when no more comes. */
  readonly half: Promise<{ readonly code: string; readonly afterMs: number }>;
  /** Connections that say half a message, nothing at all, and Hello again and again. */
  readonly ends: Promise<readonly LateEnd[]>;
}
let patience: Patience;

function beginToWait({ token, id }: MintedToken): Patience {
  const begun = performance.now();
  const halfSaid = RawAgent.dial(cluster);
  const chatty = RawAgent.dial(cluster);
  const stale = async (): Promise<{ code: string; id: string }> => {
    await using agent = await RawAgent.dial(cluster);
    const csr = aRequest({ key: aKey() });
    const message = agent.application(await agent.greet(), { token, csr, nodeName: "too-late" });
    await sleep(LIMITS.nonceLifetimeMs + 100);
    return { code: await refusalOf(agent.ask(message)), id };
  };
  const half = async (): Promise<{ code: string; afterMs: number }> => {
    const stream = await (await halfSaid).connection.openStream();
    await stream.write(Buffer.from("00000100017b", "hex"));
    const answer = Buffer.from((await stream.read()) ?? []).toString();
    return { code: /"code":"(\w+)"/.exec(answer)?.[1] ?? "", afterMs: performance.now() - begun };
  };
  const chat = async (): Promise<void> => {
    const agent = await chatty;
    for (;;) {
      await agent.greet();
      await sleep(1000);
    }
  };
  chat().catch(() => undefined);
  const endOf = async (dialled: Promise<RawAgent>): Promise<LateEnd> => {
    const end = await (await dialled).connection.ended;
    return { end, afterMs: performance.now() - begun };
  };
  const ends = Promise.all([halfSaid, chatty, RawAgent.dial(cluster)].map(endOf));
  const waiting = { stale: stale(), half: half(), ends };
  // Whoever fails early is looked at by the tests below.
  for (const promise of Object.values(waiting)) (promise as Promise<unknown>).catch(() => undefined);
  return waiting;
}

describe("patience", () => {
  test("a nonce is good for ten seconds", async () => {
    const { code, id } = await patience.stale;
    expect(code).toBe("NONCE_EXPIRED");
    const { nodes, tokens } = await clusterState(cluster);
    expect(nodes.map(({ name }) => name)).not.toContain("too-late");
    expect(tokens.find((token) => token.id === id)).toMatchObject({ status: "usable", usedCount: 0 });
  });

  test("half a message and silence is answered after the deadline of a request", async () => {
    const { code, afterMs } = await patience.half;
    expect(code).toBe("TIMED_OUT");
    expect(afterMs).toBeGreaterThan(LIMITS.requestTimeoutMs - 100);
    expect(afterMs).toBeLessThan(LIMITS.requestTimeoutMs + 10_000);
  });

  test("a connection without a certificate is closed after its lifetime, whatever it does", async () => {
    for (const { end, afterMs } of await patience.ends) {
      expect(end).toMatchObject({ by: "peer", code: CLOSE_CODES.TIMED_OUT });
      expect(afterMs).toBeGreaterThan(LIMITS.bootstrapLifetimeMs - 100);
      expect(afterMs).toBeLessThan(LIMITS.bootstrapLifetimeMs + 10_000);
    }
  });
});
