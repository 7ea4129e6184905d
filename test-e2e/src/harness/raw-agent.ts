import { createPrivateKey, randomBytes, sign } from "node:crypto";
import { readFile } from "node:fs/promises";
import { systemClock } from "@rk8s/agent";
import {
  ALPN,
  assertAnswer,
  type Connection,
  type Credentials,
  joinProofTranscript,
  type JoinProofFields,
  type Message,
  MessageStream,
  parseJoinToken,
  request,
  RksError,
  type RksMessage,
  SERVER_NAME,
  type Transport,
} from "@rk8s/protocol";
import { createQuicTransport } from "@rk8s/quic";
import { decodePemCertificates, parseCertificate } from "@rk8s/x509";
import type { Cluster } from "./cluster.js";

/** The transport of the agents that tests make by hand. */
export const transport: Transport = createQuicTransport({ clock: systemClock });

/** PrivateKeyInfo around an Ed25519 seed (RFC 8410 §7), up to the seed. */
const PKCS8_ED25519 = Buffer.from("302e020100300506032b657004220420", "hex");

/** How to dial; everything has a default that fits. */
export interface RawDial {
  readonly credentials?: Credentials;
  readonly alpn?: string;
  readonly serverName?: string;
  readonly roots?: readonly Uint8Array[];
  /** Instead of the cluster's own, for example a relay's. */
  readonly address?: string;
}

/** What was said at the beginning, as bytes: proofs sign it. */
export interface Greeting {
  readonly hello: Uint8Array;
  readonly welcome: Uint8Array;
  readonly message: Message<"Welcome">;
}

/** A CertificateSign to make. */
export interface Application {
  /** As `rks gen join-token` printed it. */
  readonly token: string;
  /** DER. */
  readonly csr: Uint8Array;
  readonly nodeName?: string;
  readonly role?: "node" | "operator";
  /** What is signed instead of the truth. */
  readonly proven?: Partial<JoinProofFields>;
}

/** One connection of an agent that says what it is told to and checks nothing. */
export class RawAgent implements AsyncDisposable {
  readonly connection: Connection;

  private constructor(connection: Connection) {
    this.connection = connection;
  }

  /** @throws {RksError} as `Transport.dial`. */
  static async dial(cluster: Cluster, dial: RawDial = {}): Promise<RawAgent> {
    const { alpn = ALPN, serverName = SERVER_NAME, credentials, address = cluster.address } = dial;
    const [host, port] = address.split(":");
    const roots = dial.roots ?? decodePemCertificates(await readFile(cluster.rootCertPath));
    return new RawAgent(
      await transport.dial({
        ...{ host: host!, port: Number(port), alpn, serverName, roots },
        ...(credentials === undefined ? {} : { credentials }),
      }),
    );
  }

  /** SubjectPublicKeyInfo of the server's leaf on this connection. */
  get serverLeafSpki(): Uint8Array {
    return parseCertificate(this.connection.peerCertificates[0]!).spki;
  }

  /** Say Hello. @throws {RksError} what the server answers. */
  async greet(fields: Partial<Message<"Hello">> = {}): Promise<Greeting> {
    const hello: Message<"Hello"> = {
      ...{ type: "Hello", versions: [1], features: [], nonce: new Uint8Array(randomBytes(32)) },
      ...fields,
    };
    const answer = await request(this.connection, hello, "Welcome", { clock: systemClock });
    return { hello: answer.sentBody, welcome: answer.body, message: answer.message };
  }

  /** The CertificateSign with a proof for this connection and this greeting. */
  application(greeting: Greeting, asked: Application): Message<"CertificateSign"> {
    const { id, seed } = parseJoinToken(asked.token);
    const { csr, nodeName, role = "node" } = asked;
    const der = Buffer.concat([PKCS8_ED25519, seed.reveal()]);
    const transcript = joinProofTranscript({
      alpn: this.connection.alpn,
      hello: greeting.hello,
      welcome: greeting.welcome,
      tokenId: id,
      serverLeafSpki: this.serverLeafSpki,
      csr,
      nodeName: nodeName ?? "",
      role,
      ...asked.proven,
    });
    const proof = sign(null, transcript, createPrivateKey({ key: der, format: "der", type: "pkcs8" }));
    const name = nodeName === undefined ? {} : { nodeName };
    return { type: "CertificateSign", tokenId: id, role, csr, ...name, proof: new Uint8Array(proof) };
  }

  /** Send a message and take its answer. @throws {RksError} when that is an `Error`. */
  async ask(message: RksMessage): Promise<{ readonly message: RksMessage; readonly body: Uint8Array }> {
    const stream = new MessageStream(await this.connection.openStream());
    await stream.send(message);
    stream.end();
    const answer = await stream.receiveMessage();
    if (answer.message.type === "Error") throw RksError.fromWire(answer.message);
    return answer;
  }

  /** Hello, CertificateSign, Certificate. @throws {RksError} what the server answers. */
  async join(asked: Application): Promise<Message<"Certificate">> {
    const { message } = await this.ask(this.application(await this.greet(), asked));
    return assertAnswer(message, "Certificate");
  }

  /** Write bytes on a stream of their own, end it, and read the answer. @throws {RksError} when that is an `Error`. */
  async throwBytes(bytes: Uint8Array): Promise<RksMessage> {
    const stream = await this.connection.openStream();
    await stream.write(bytes);
    stream.end();
    const { message } = await new MessageStream(stream).receiveMessage();
    if (message.type === "Error") throw RksError.fromWire(message);
    return message;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.connection.close();
  }
}

/** One whole join on a connection of its own. @throws {RksError} what the server answers. */
export async function join(
  cluster: Cluster,
  asked: Application,
  dial?: RawDial,
): Promise<Message<"Certificate">> {
  await using agent = await RawAgent.dial(cluster, dial);
  return await agent.join(asked);
}

/** What a client presents after a join. */
export function credentialsOf(certificate: Message<"Certificate">, pkcs8: Uint8Array): Credentials {
  return { certificateChain: [certificate.leaf], privateKey: Uint8Array.from(pkcs8) };
}

/** The code that something is refused with. @throws Error when it is not. */
export async function refusalOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (error instanceof RksError) return error.code;
    throw error;
  }
  throw new Error("it was not refused");
}
