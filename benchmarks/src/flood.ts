import { randomBytes } from "node:crypto";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { createCertificateRequest, KeyPair, systemClock } from "@rk8s/agent";
import { ALPN, request, RksError, SERVER_NAME, type Transport } from "@rk8s/protocol";
import { createQuicTransport } from "@rk8s/quic";

export interface FloodInit {
  readonly rksAddress: string;
  readonly rootCertificates: readonly Uint8Array[];
  /** Initial packets a second that show no valid Retry token. */
  readonly initialsPerSecond: number;
  /** Whole handshakes a second that end in a CertificateSign with a bad proof. */
  readonly badProofsPerSecond: number;
  /** A join token that exists, which the bad proofs name. */
  readonly tokenId: string;
}

/** Source ports of the packets. */
const SOCKETS = 16;
const INITIAL_BYTES = 1200;
const ID_BYTES = 20;
const STEP_MS = 20;
/** Handshakes under way; a server that does not answer costs the attacker no more than this. */
const MAX_HANDSHAKES = 300;

/** An attacker on this host: packets that ask for work, and handshakes that ask for certificates. */
export class Flood implements AsyncDisposable {
  initials = 0;
  /** What came of the bad proofs, by code. */
  readonly outcomes = new Map<string, number>();
  readonly #init: FloodInit;
  readonly #host: string;
  readonly #port: number;
  readonly #sockets: readonly Socket[];
  readonly #transport: Transport = createQuicTransport({ clock: systemClock });
  readonly #csr: Uint8Array;
  readonly #stop = new AbortController();
  readonly #handshakes = new Set<Promise<void>>();
  readonly #running: Promise<unknown>;

  private constructor(init: FloodInit, sockets: readonly Socket[], csr: Uint8Array) {
    const [host, port] = init.rksAddress.split(":");
    this.#init = init;
    this.#host = host!;
    this.#port = Number(port);
    this.#sockets = sockets;
    this.#csr = csr;
    const { initialsPerSecond, badProofsPerSecond } = init;
    this.#running = Promise.all([
      this.#atRate(initialsPerSecond, () => this.#sendInitial()),
      this.#atRate(badProofsPerSecond, () => this.#attempt()),
    ]);
  }

  /** Begin; goes on until disposal. */
  static async start(init: FloodInit): Promise<Flood> {
    using keyPair = KeyPair.create();
    const csr = createCertificateRequest(keyPair);
    const sockets = Array.from({ length: SOCKETS }, () => createSocket("udp4"));
    for (const socket of sockets) {
      socket.bind(0);
      await once(socket, "listening");
    }
    return new Flood(init, sockets, csr);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await Promise.all(this.#handshakes);
    await Promise.all(this.#sockets.map(async (socket) => new Promise<void>((done) => socket.close(done))));
  }

  async #atRate(perSecond: number, work: () => void): Promise<void> {
    const begun = performance.now();
    for (let done = 0; !this.#stop.signal.aborted;) {
      const due = ((performance.now() - begun) / 1000) * perSecond;
      for (; done < due; done++) work();
      await sleep(STEP_MS);
    }
  }

  /** Half of them without a token, half with one that nobody issued. */
  #sendInitial(): void {
    const token = this.initials % 2 === 0 ? new Uint8Array(0) : randomBytes(60);
    const head = Buffer.concat([
      Buffer.from([0xc0, 0, 0, 0, 1, ID_BYTES]),
      randomBytes(ID_BYTES),
      Buffer.from([ID_BYTES]),
      randomBytes(ID_BYTES),
      Buffer.from([token.length]),
      token,
    ]);
    const packet = Buffer.alloc(INITIAL_BYTES);
    head.copy(packet);
    this.#sockets[this.initials++ % SOCKETS]!.send(packet, this.#port, this.#host);
  }

  #attempt(): void {
    if (this.#handshakes.size >= MAX_HANDSHAKES) {
      this.#count("none: too many are unanswered");
      return;
    }
    const attempt = this.#prove()
      .then(
        () => this.#count("a certificate"),
        (reason: unknown) => this.#count(RksError.from(reason).code),
      )
      .finally(() => this.#handshakes.delete(attempt));
    this.#handshakes.add(attempt);
  }

  async #prove(): Promise<void> {
    const { rootCertificates: roots, tokenId } = this.#init;
    await using connection = await this.#transport.dial({
      ...{ host: this.#host, port: this.#port, alpn: ALPN, serverName: SERVER_NAME, roots },
    });
    const options = { clock: systemClock };
    const hello = { type: "Hello" as const, versions: [1], features: [], nonce: randomBytes(32) };
    await request(connection, hello, "Welcome", options);
    const proof = randomBytes(64);
    await request(
      connection,
      { type: "CertificateSign", tokenId, role: "node", csr: this.#csr, proof },
      "Certificate",
      options,
    );
  }

  #count(outcome: string): void {
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
  }
}
