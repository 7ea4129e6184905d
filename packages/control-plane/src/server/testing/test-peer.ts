import { randomBytes, sign } from "node:crypto";
import {
  ALPN,
  type Connection,
  type ConnectionEnd,
  type ConnectionLimits,
  joinProofTranscript,
  type Message,
  MessageStream,
  type MessageType,
  parseJoinToken,
  renewProofTranscript,
  request,
  RksError,
  type RksMessage,
  SERVER_NAME,
  type Stream,
} from "@rk8s/protocol";
import { aNodeStatus } from "@rk8s/protocol/testing";
import { parseCertificate } from "@rk8s/x509";
import { aCsr, aKey, signAsHolder, type TestKey } from "../../join/testing/a-request.js";
import type { TestCluster } from "./a-cluster.js";

/** What came out of a join. */
export interface TestIdentity {
  readonly answer: Message<"Certificate">;
  readonly key: TestKey;
}

export interface JoinOptions {
  readonly token: string;
  readonly key?: TestKey;
  readonly csr?: Uint8Array;
  readonly nodeName?: string;
  readonly role?: "node" | "operator";
}

/** The other end of a connection to a cluster: an agent, an operator, or somebody worse. */
export class TestPeer {
  readonly connection: Connection;
  readonly identity: TestIdentity | undefined;
  readonly #cluster: TestCluster;
  #hello: Uint8Array = new Uint8Array(0);
  #welcome: Uint8Array = new Uint8Array(0);

  constructor(cluster: TestCluster, connection: Connection, identity: TestIdentity | undefined) {
    this.#cluster = cluster;
    this.connection = connection;
    this.identity = identity;
  }

  /** Connect, with a certificate when there is one. Says nothing yet. */
  static async dial(
    cluster: TestCluster,
    identity?: TestIdentity,
    limits: ConnectionLimits = {},
  ): Promise<TestPeer> {
    const credentials =
      identity === undefined
        ? {}
        : {
            credentials: {
              certificateChain: [identity.answer.leaf, ...identity.answer.chain],
              privateKey: new Uint8Array([1]),
            },
          };
    const connection = await cluster.transport.dial({
      ...cluster.address,
      alpn: ALPN,
      serverName: SERVER_NAME,
      roots: [cluster.ca.root],
      limits,
      ...credentials,
    });
    return new TestPeer(cluster, connection, identity);
  }

  /** A whole bootstrap on a connection of its own. */
  static async join(cluster: TestCluster, options: JoinOptions): Promise<TestIdentity> {
    const peer = await TestPeer.dial(cluster);
    try {
      await peer.hello();
      const key = options.key ?? aKey();
      const answer = await peer.ask(peer.certificateSign({ ...options, key }), "Certificate");
      return { answer, key };
    } finally {
      await peer.connection.close();
    }
  }

  async hello(): Promise<Message<"Welcome">> {
    const message: RksMessage = {
      type: "Hello",
      versions: [1],
      features: [],
      nonce: new Uint8Array(randomBytes(32)),
    };
    const { clock } = this.#cluster;
    const answer = await request(this.connection, message, "Welcome", { clock });
    this.#hello = answer.sentBody;
    this.#welcome = answer.body;
    return answer.message;
  }

  /** What proofs for this connection sign, after `hello`. */
  get greeting(): {
    readonly alpn: string;
    readonly hello: Uint8Array;
    readonly welcome: Uint8Array;
    readonly serverLeafSpki: Uint8Array;
  } {
    const serverLeafSpki = parseCertificate(this.connection.peerCertificates[0]!).spki;
    return { alpn: ALPN, hello: this.#hello, welcome: this.#welcome, serverLeafSpki };
  }

  /** A CertificateSign with a good proof for this connection. */
  certificateSign(options: JoinOptions): Message<"CertificateSign"> {
    const { token, nodeName, role = "node" } = options;
    const csr = options.csr ?? aCsr(options.key ?? aKey());
    const tokenId = parseJoinToken(token).id;
    const transcript = joinProofTranscript({
      alpn: ALPN,
      hello: this.#hello,
      welcome: this.#welcome,
      serverLeafSpki: parseCertificate(this.connection.peerCertificates[0]!).spki,
      tokenId,
      csr,
      nodeName: nodeName ?? "",
      role,
    });
    return {
      type: "CertificateSign",
      tokenId,
      role,
      csr,
      ...(nodeName === undefined ? {} : { nodeName }),
      proof: signAsHolder(token, transcript),
    };
  }

  /** A CertificateRenew for a new key, with a good proof for this connection. */
  certificateRenew(
    key: TestKey,
    instead: { readonly csr?: Uint8Array; readonly welcome?: Uint8Array; readonly signedBy?: TestKey } = {},
  ): Message<"CertificateRenew"> {
    const { csr = aCsr(key), welcome = this.#welcome, signedBy = key } = instead;
    const proof = sign("sha256", renewProofTranscript({ welcome, csr }), signedBy.privateKey);
    return { type: "CertificateRenew", csr, proof };
  }

  /** Renew; what a connection with the new certificate needs. */
  async renew(key: TestKey = aKey()): Promise<TestIdentity> {
    return { answer: await this.ask(this.certificateRenew(key), "Certificate"), key };
  }

  /** Register, reporting the pods given. */
  async register(
    options: {
      readonly nodeName?: string;
      readonly instanceId?: string;
      readonly machineIdSha256?: Uint8Array;
      readonly pods?: Message<"RegisterNode">["pods"];
    } = {},
  ): Promise<Message<"Registered">> {
    const { nodeName = this.identity?.answer.nodeName ?? "", pods = [], ...more } = options;
    return this.ask(
      { type: "RegisterNode", nodeName, version: "1.2.3", ...more, status: aNodeStatus(), pods },
      "Registered",
    );
  }

  async ask<T extends MessageType>(message: RksMessage, expected: T): Promise<Message<T>> {
    return (await request(this.connection, message, expected, { clock: this.#cluster.clock })).message;
  }

  /** The code that a message is refused with, or the type of its answer. */
  async outcome(message: RksMessage): Promise<string> {
    const stream = new MessageStream(await this.connection.openStream());
    try {
      await stream.send(message);
      stream.end();
      const { message: answer } = await stream.receiveMessage();
      return answer.type === "Error" ? answer.code : answer.type;
    } catch (reason) {
      return RksError.from(reason).code;
    }
  }

  /** The next request of the control plane. */
  async nextRequest(): Promise<{ readonly message: RksMessage; readonly stream: MessageStream }> {
    this.#incoming ??= this.connection.incomingStreams()[Symbol.asyncIterator]();
    const next = await this.#incoming.next();
    if (next.done === true) throw new Error("the connection ended");
    const stream = new MessageStream(next.value);
    return { message: (await stream.receiveMessage()).message, stream };
  }

  /** Acknowledge the next request. */
  async acknowledge(): Promise<RksMessage> {
    const { message, stream } = await this.nextRequest();
    await stream.send({ type: "Ack" });
    stream.end();
    return message;
  }

  #incoming: AsyncIterator<Stream> | undefined;

  /** How the connection ended. */
  async end(): Promise<ConnectionEnd> {
    return this.connection.ended;
  }
}
