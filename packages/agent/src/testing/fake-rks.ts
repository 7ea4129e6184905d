import { randomBytes, verify as verifySignature, createPublicKey, X509Certificate } from "node:crypto";
import {
  ALPN,
  joinProofTranscript,
  LIMITS,
  renewProofTranscript,
  MessageStream,
  RksError,
  type Clock,
  type Connection,
  type Listener,
  type Message,
  type RksMessage,
  type Stream,
  type Transport,
} from "@rk8s/protocol";
import { createMemoryTransport, type MemoryTransport, type PresentedChain } from "@rk8s/protocol/testing";
import { nameValues, OID, parseCertificate, parseCertificateRequest, parseClientLeaf } from "@rk8s/x509";
import { joinTokenSpki } from "../identity/join-proof.js";
import { TestCa } from "./test-ca.js";

/** What a fake control plane does with a request: answer, answer with raw bytes, or stay silent for ever. */
export type FakeAnswer = RksMessage | Uint8Array | "silence";

interface FakeRequest {
  readonly message: RksMessage;
  readonly connection: Connection;
}

export interface FakeRksInit {
  readonly clock: Clock;
  readonly ca?: TestCa;
  /** Default: a memory transport of its own. */
  readonly transport?: Transport;
  /** Replaces the usual answer; undefined leaves it. */
  readonly answer?: (request: FakeRequest) => FakeAnswer | undefined;
  readonly certificateLifetimeMs?: number;
  readonly heartbeatIntervalSeconds?: number;
  /** The name for a node that asks for none; without one such a node is refused. */
  readonly tokenName?: string;
  readonly serverLeaf?: {
    readonly dnsNames?: readonly string[];
    readonly commonName?: string;
    readonly extendedKeyUsage?: readonly string[];
  };
}

/** The certificates of a node, as the control plane counts them. */
interface CountedCertificates {
  current: Message<"Certificate">;
  generation: number;
  next?: Message<"Certificate">;
}

/** A small control plane over the memory transport: it speaks the protocol, checks proofs and signs requests. */
export class FakeRks implements AsyncDisposable {
  readonly transport: Transport;
  readonly ca: TestCa;
  readonly joinToken: string;
  /** Everything that was asked, in order. */
  readonly requests: RksMessage[] = [];
  /** Connections in order of arrival. */
  readonly connections: Connection[] = [];
  readonly #init: FakeRksInit;
  readonly #waiters: { readonly count: number; readonly type: string; readonly resolve: () => void }[] = [];
  readonly #greetings = new WeakMap<
    Connection,
    { readonly hello: Uint8Array; readonly welcome: Uint8Array }
  >();
  readonly #memory: MemoryTransport;
  /** By the node's name; a rejoin begins anew. */
  readonly #certificates = new Map<string, CountedCertificates>();
  /** What keys were answered, by their SubjectPublicKeyInfo. */
  readonly #answers = new Map<string, Message<"Certificate">>();
  #listener: Listener | undefined;
  #port = 0;

  private constructor(init: FakeRksInit) {
    this.#init = init;
    this.ca = init.ca ?? new TestCa({ nowMs: init.clock.now() });
    this.joinToken = this.ca.joinToken().text;
    this.#memory = createMemoryTransport({ verify: verifyChain });
    this.transport = init.transport ?? this.#memory;
  }

  static async start(init: FakeRksInit): Promise<FakeRks> {
    const rks = new FakeRks(init);
    await rks.listen();
    return rks;
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** Begin, or begin again after `close`, on the same port. */
  async listen(): Promise<void> {
    const nowMs = this.#init.clock.now();
    this.#listener = await this.transport.listen({
      host: "127.0.0.1",
      port: this.#port,
      alpn: [ALPN],
      credentials: this.ca.serverCredentials({
        nowMs,
        lifetimeMs: 1000 * 3_600_000,
        ...this.#init.serverLeaf,
      }),
      clientRoots: [this.ca.root],
    });
    this.#port = this.#listener.address.port;
    this.#accept(this.#listener).catch(() => undefined);
  }

  /** Lose every connection, as when a cable is pulled; over the memory transport only. */
  loseConnections(): void {
    this.#memory.loseConnections();
  }

  /** Close every connection and listen no more. */
  async close(): Promise<void> {
    await this.#listener?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Resolves when so many requests of a type have arrived. */
  async received(type: string, count = 1): Promise<void> {
    if (this.#count(type) >= count) return;
    await new Promise<void>((resolve) => {
      this.#waiters.push({ count, type, resolve });
    });
  }

  #count(type: string): number {
    return this.requests.filter((request) => request.type === type).length;
  }

  async #accept(listener: Listener): Promise<void> {
    for await (const connection of listener.connections()) {
      this.connections.push(connection);
      this.#serve(connection).catch(() => undefined);
    }
  }

  async #serve(connection: Connection): Promise<void> {
    for await (const stream of connection.incomingStreams()) {
      this.#answer(stream, connection).catch(() => stream.reset());
    }
  }

  async #answer(stream: Stream, connection: Connection): Promise<void> {
    const messages = new MessageStream(stream);
    const { message, body } = await messages.receiveMessage();
    this.requests.push(message);
    const answer = this.#init.answer?.({ message, connection }) ?? this.#usualAnswer(message, connection);
    if (answer instanceof Uint8Array) {
      await stream.write(answer);
      stream.end();
    } else if (answer !== "silence") {
      const sent = await messages.send(answer);
      if (message.type === "Hello") this.#greetings.set(connection, { hello: body, welcome: sent });
      messages.end();
    }
    for (const waiter of this.#waiters) if (this.#count(waiter.type) >= waiter.count) waiter.resolve();
  }

  #usualAnswer(message: RksMessage, connection: Connection): RksMessage {
    const serverTime = new Date(this.#init.clock.now()).toISOString();
    if (message.type === "Hello") {
      const refused = this.#use(connection);
      if (refused !== undefined) return refused;
      return {
        type: "Welcome",
        version: 1,
        features: [],
        nonce: new Uint8Array(randomBytes(LIMITS.nonceBytes)),
        serverTime,
        limits: { maxMessageBytes: LIMITS.maxMessageBytes },
      };
    }
    if (message.type === "CertificateSign") return this.sign(message, connection);
    if (message.type === "CertificateRenew") return this.renew(message, connection);
    if (message.type === "CertificateRecover") return this.recover(message);
    if (message.type === "RegisterNode") {
      const heartbeatIntervalSeconds = this.#init.heartbeatIntervalSeconds ?? 10;
      const certificateGeneration = this.#countedOf(connection)?.generation ?? 0;
      return {
        type: "Registered",
        heartbeatIntervalSeconds,
        heartbeatGraceSeconds: 40,
        serverTime,
        certificateGeneration,
      };
    }
    return message.type === "ListNodes" ? { type: "NodeList", nodes: [] } : { type: "Ack" };
  }

  /** Check the proof and sign the request, or refuse it. */
  sign(message: Message<"CertificateSign">, connection: Connection): RksMessage {
    const { token } = this.ca.joinToken();
    const greeting = this.#greetings.get(connection);
    const transcript = joinProofTranscript({
      alpn: ALPN,
      hello: greeting?.hello ?? new Uint8Array(),
      welcome: greeting?.welcome ?? new Uint8Array(),
      tokenId: message.tokenId,
      serverLeafSpki: parseCertificate(connection.localCertificates[0]!).spki,
      csr: message.csr,
      nodeName: message.nodeName ?? "",
      role: message.role,
    });
    const key = createPublicKey({ key: Buffer.from(joinTokenSpki(token)), format: "der", type: "spki" });
    if (!verifySignature(null, transcript, key, message.proof)) return refusal("JOIN_TOKEN_INVALID");
    const isNode = message.role === "node";
    const [commonName] = nameValues(parseCertificateRequest(message.csr).subject, OID.commonName);
    const name = isNode ? (message.nodeName ?? this.#init.tokenName ?? commonName) : message.tokenId;
    if (name === undefined) return refusal("NODE_NAME_INVALID");
    const answer = this.certificateFor(message.csr, { name, kind: message.role });
    if (isNode) this.#certificates.set(name, { current: answer, generation: 0 });
    return answer;
  }

  /** Forget a node's next certificate, as a control plane does that was put back to an earlier state. */
  forgetNext(name: string): void {
    delete this.#certificates.get(name)?.next;
  }

  /** Serial numbers of a node's certificates. */
  serialsOf(name: string): { readonly current: string | undefined; readonly next: string | undefined } {
    const counted = this.#certificates.get(name);
    return { current: counted?.current.serialNumber, next: counted?.next?.serialNumber };
  }

  /** Check the proof and sign the request for the node's next certificate; the same key gets the same bytes. */
  renew(message: Message<"CertificateRenew">, connection: Connection): RksMessage {
    const counted = this.#countedOf(connection);
    const { welcome } = this.#greetings.get(connection) ?? {};
    if (counted === undefined || welcome === undefined) return refusal("PERMISSION_DENIED");
    const { spki } = parseCertificateRequest(message.csr);
    const key = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
    const transcript = renewProofTranscript({ welcome, csr: message.csr });
    if (!verifySignature("sha256", transcript, key, message.proof)) return refusal("CSR_INVALID");
    const id = Buffer.from(spki).toString("hex");
    const known = this.#answers.get(id);
    if (known !== undefined) return known;
    if (serialOf(connection) !== counted.current.serialNumber) return refusal("CONFLICT");
    const answer = this.certificateFor(message.csr, { name: counted.current.nodeName, kind: "node" });
    this.#answers.set(id, answer);
    counted.next = answer;
    return answer;
  }

  /** Sign the request of a node that has come back; its proof is not looked at. */
  recover({ csr, nodeName }: Message<"CertificateRecover">): RksMessage {
    const answer = this.certificateFor(csr, { name: nodeName, kind: "node" });
    const before = this.#certificates.get(nodeName)?.generation ?? -1;
    this.#certificates.set(nodeName, { current: answer, generation: before + 1 });
    return answer;
  }

  /** The first use of a node's next certificate; what is neither next nor current is refused. */
  #use(connection: Connection): RksMessage | undefined {
    const counted = this.#countedOf(connection);
    if (counted === undefined) return undefined;
    const serial = serialOf(connection);
    const { next } = counted;
    if (next !== undefined && next.serialNumber === serial) {
      counted.current = next;
      delete counted.next;
      counted.generation++;
    }
    return counted.current.serialNumber === serial ? undefined : refusal("CERTIFICATE_REVOKED");
  }

  #countedOf(connection: Connection): CountedCertificates | undefined {
    const [leaf] = connection.peerCertificates;
    const [name] = leaf === undefined ? [] : nameValues(parseCertificate(leaf).subject, OID.commonName);
    return name === undefined ? undefined : this.#certificates.get(name);
  }

  /** A Certificate message for a request, as it should be. */
  certificateFor(
    csr: Uint8Array,
    subject: { readonly name: string; readonly kind: "node" | "operator" },
  ): Message<"Certificate"> {
    const nowMs = this.#init.clock.now();
    const lifetimeMs = this.#init.certificateLifetimeMs ?? 3_600_000;
    const leaf = this.ca.signRequest(csr, { ...subject, nowMs, lifetimeMs });
    return {
      type: "Certificate",
      nodeName: subject.kind === "node" ? subject.name : "",
      leaf,
      chain: [this.ca.root],
      trustBundle: [this.ca.root],
      renewAfter: new Date(nowMs + (lifetimeMs * 2) / 3).toISOString(),
      notAfter: new Date(nowMs + lifetimeMs).toISOString(),
      serialNumber: parseCertificate(leaf).serialNumber,
    };
  }
}

function serialOf({ peerCertificates: [leaf] }: Connection): string | undefined {
  return leaf && parseCertificate(leaf).serialNumber;
}

/** An `Error` message. */
export function refusal(code: ConstructorParameters<typeof RksError>[0]): Message<"Error"> {
  return { type: "Error", ...new RksError(code, `refused with ${code}`).toJSON() };
}

/** What TLS checks: the chain, and the name among a server's names. Usages are left to the application. */
function verifyChain({ usage, chain, roots, serverName }: PresentedChain): void {
  const [leaf] = chain;
  const trusted =
    leaf !== undefined &&
    roots.some((root) => new X509Certificate(leaf).verify(new X509Certificate(root).publicKey));
  if (!trusted) {
    throw new RksError(
      usage === "server" ? "SERVER_UNTRUSTED" : "CLIENT_CERTIFICATE_REFUSED",
      "unknown authority",
    );
  }
  if (usage === "client") parseClientLeaf(leaf, { trustDomain: "test.local" });
  else if (!parseCertificate(leaf).dnsNames.includes(serverName ?? "")) {
    throw new RksError("SERVER_NAME_MISMATCH", "another name");
  }
}
