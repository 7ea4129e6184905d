import { type Clock, type Credentials, RksError } from "@rk8s/protocol";
import { encodePemBytes } from "@rk8s/x509";
import type { HostPort, HttpTlsConfig } from "../config/config.js";
import type { HttpListenerPorts } from "../http/http-listener.js";
import {
  type HttpsServer,
  type HttpsServerInit,
  type ServerIdentity,
  serveHttps,
} from "../http/https-server.js";
import { Serial } from "../vault/serial.js";
import { readTlsFiles } from "./tls-files.js";

/** Requests under way when rks stops: signing takes milliseconds, an RSA key seconds; agents get as long meanwhile. */
const DRAIN_MS = 5_000;
/** How soon a certificate that was replaced on disk is noticed. */
const FILE_CHECK_MS = 5_000;

export interface HttpsListenerInit extends Pick<HttpsServerInit, "routes" | "api"> {
  readonly address: HostPort;
  /** Where the certificate is; undefined: the cluster's own is used. */
  readonly tls: HttpTlsConfig | undefined;
}

export interface HttpsListenerPorts extends HttpListenerPorts {
  readonly clock: Clock;
}

/**
 * The listener of the Vault-compatible API: opened at the first unseal, and then open until it is disposed, sealed or
 * not. Its certificate changes without a restart: the cluster's own by `offer`, one from files when they change.
 */
export class HttpsListener implements AsyncDisposable {
  readonly #init: HttpsListenerInit;
  readonly #ports: HttpsListenerPorts;
  readonly #stop = new AbortController();
  #server: HttpsServer | undefined;
  /** The cluster's own, until the listener is open. */
  #offered: ServerIdentity | undefined;
  /** Of the files that are used, and of those that were refused last. */
  #mark = "";
  #watching: Promise<void> | undefined;
  readonly #looks = new Serial();

  constructor(init: HttpsListenerInit, ports: HttpsListenerPorts) {
    this.#init = init;
    this.#ports = ports;
  }

  /** Where it listens; undefined while it does not. */
  get address(): HostPort | undefined {
    const { host } = this.#init.address;
    return this.#server === undefined ? undefined : { host, port: this.#server.port };
  }

  /** Take the cluster's own certificate, unless files are used. What is taken is copied at once. */
  offer(credentials: Credentials): void {
    if (this.#init.tls !== undefined || this.#stop.signal.aborted) return;
    this.#forgetOffer();
    this.#offered = identityOf(credentials);
    if (this.#server !== undefined) {
      this.#replace(this.#offered);
      this.#forgetOffer();
    }
  }

  /**
   * Begin to listen; does nothing when it does already.
   * @throws {RksError} UNAVAILABLE when the address cannot be bound; CONFIG_INVALID when the files cannot be used.
   */
  async open(): Promise<void> {
    if (this.#server !== undefined || this.#stop.signal.aborted) return;
    const { address, routes, api, tls } = this.#init;
    const identity = tls === undefined ? this.#offered : await this.#readFiles(tls);
    if (identity === undefined) throw RksError.from(new Error("HTTPS is opened without a certificate"));
    try {
      this.#server = await serveHttps({ ...address, identity, routes, api, drainMs: DRAIN_MS }, this.#ports);
    } finally {
      identity.privateKey.fill(0);
      this.#forgetOffer();
    }
    if (tls !== undefined) this.#watching = this.#watch(tls);
  }

  /**
   * Read the files now and use what is in them, changed or not. What does not work is said, and what was used before
   * stays. Not open yet, or the cluster's own certificate is used: nothing happens.
   */
  async reload(): Promise<void> {
    const { tls } = this.#init;
    if (tls === undefined || this.#watching === undefined) return;
    await this.#looks.run(() => this.#look(tls, { always: true }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new RksError("UNAVAILABLE", "rks is stopping"));
    this.#forgetOffer();
    await this.#server?.[Symbol.asyncDispose]();
    await this.#watching;
    await this.#looks.run(() => Promise.resolve());
  }

  async #watch(tls: HttpTlsConfig): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#ports.clock.sleep(FILE_CHECK_MS, { signal }).catch(() => undefined);
      await this.#looks.run(() => this.#look(tls, { always: false }));
    }
  }

  /** Use what is in the files if it is another than before, or always. */
  async #look(tls: HttpTlsConfig, { always }: { readonly always: boolean }): Promise<void> {
    if (this.#stop.signal.aborted) return;
    const before = this.#mark;
    try {
      const identity = await this.#readFiles(tls);
      if (always || this.#mark !== before) this.#replace(identity);
      identity.privateKey.fill(0);
    } catch (error) {
      // Said once, unless somebody asked for it; the same again is no news.
      if (always || this.#mark !== UNREADABLE)
        this.#ports.logger.error("HTTPS certificate could not be read", { error });
      this.#mark = UNREADABLE;
    }
  }

  async #readFiles(tls: HttpTlsConfig): Promise<ServerIdentity> {
    const { mark, ...identity } = await readTlsFiles(tls);
    this.#mark = mark;
    return identity;
  }

  /** What does not work is said, and what was used before stays. */
  #replace(identity: ServerIdentity): void {
    try {
      this.#server?.useIdentity(identity);
      this.#ports.logger.info("HTTPS certificate replaced");
    } catch (error) {
      this.#ports.logger.error("HTTPS certificate could not be replaced", { error });
    }
  }

  #forgetOffer(): void {
    this.#offered?.privateKey.fill(0);
    this.#offered = undefined;
  }
}

const UNREADABLE = "unreadable";

/** PEM, made without any string of the key. */
function identityOf({ certificateChain, privateKey }: Credentials): ServerIdentity {
  return {
    certificates: Buffer.concat(certificateChain.map((der) => encodePemBytes("CERTIFICATE", der))),
    privateKey: encodePemBytes("PRIVATE KEY", privateKey),
  };
}
