import { ALPN, type Credentials, type Listener } from "@rk8s/protocol";
import { transport } from "./raw-agent.js";

/** Something that listens like an rks and writes down what it is told. It answers nothing. */
export class FakeRks implements AsyncDisposable {
  /** Bytes that reached it on streams. */
  heard = 0;
  readonly #listener: Listener;
  readonly #serving: Promise<void>;

  private constructor(listener: Listener) {
    this.#listener = listener;
    this.#serving = this.#serve();
  }

  /** Listen on loopback with these credentials. */
  static async open(credentials: Credentials): Promise<FakeRks> {
    const clientRoots = credentials.certificateChain.slice(-1);
    const options = { host: "127.0.0.1", port: 0, alpn: [ALPN], credentials, clientRoots };
    return new FakeRks(await transport.listen(options));
  }

  get address(): string {
    return `127.0.0.1:${this.#listener.address.port}`;
  }

  async #serve(): Promise<void> {
    for await (const connection of this.#listener.connections()) {
      for await (const stream of connection.incomingStreams()) {
        for (let bytes = await stream.read(); bytes !== undefined; bytes = await stream.read()) {
          this.heard += bytes.length;
        }
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#listener.close();
    await this.#serving.catch(() => undefined);
  }
}
