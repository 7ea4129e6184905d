import { randomBytes } from "node:crypto";
import { RksError, silentLogger } from "@rk8s/protocol";
import type {
  Clock,
  Connection,
  DialOptions,
  Listener,
  ListenOptions,
  Logger,
  ProbeOptions,
  Transport,
} from "@rk8s/protocol";
import { AddressTokens } from "./address-token.js";
import { DialConfigs } from "./dial-config.js";
import { Dialer } from "./dialer.js";
import { addressText, unbindable } from "./error.js";
import { assertWhole, completeLimits, DEFAULT_MAX_CONNECTIONS, DEFAULT_MAX_HANDSHAKES } from "./limits.js";
import { QuicListener } from "./listener.js";
import { loadNative } from "./native-binding.js";
import type { NativeQuiche } from "./native-binding.js";
import { resolveHost } from "./resolve-host.js";

export interface QuicTransportPorts {
  /** Only decides how old a Retry token is; the timers of connections are the event loop's own. */
  readonly clock: Clock;
  readonly logger?: Logger;
  /** Unpredictable bytes for connection ids and the key of Retry tokens. */
  readonly randomBytes?: (length: number) => Uint8Array;
}

/** Room for the longest read from a stream; shared by all, as a read copies out what it got. */
const SCRATCH_BYTES = 65_536;
const TOKEN_KEY_BYTES = 32;
const RESET_KEY_BYTES = 32;
const MAX_PORT = 65_535;

/**
 * Make the QUIC transport (RFC 9000, TLS 1.3). Nothing is loaded, opened or kept before the first call; every
 * socket goes with the listener or with the last connection that uses it, so a process that has closed all can end.
 *
 * - A client certificate is optional on every listener; one that does not verify is refused.
 * - Resumed sessions and 0-RTT are refused.
 * - Dialling again with the same `Credentials` object works although its key bytes are wiped by the first dial.
 * - A host name is tried at all its addresses.
 */
export function createQuicTransport(ports: QuicTransportPorts): Transport {
  return new QuicTransport(ports);
}

interface Loaded {
  readonly quiche: NativeQuiche;
  readonly configs: DialConfigs;
  readonly dialer: Dialer;
}

class QuicTransport implements Transport {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #randomBytes: (length: number) => Uint8Array;
  readonly #scratch = new Uint8Array(SCRATCH_BYTES);
  #loading: Promise<Loaded> | undefined;

  constructor(ports: QuicTransportPorts) {
    this.#clock = ports.clock;
    this.#logger = ports.logger ?? silentLogger;
    this.#randomBytes = ports.randomBytes ?? randomBytes;
  }

  async listen(options: ListenOptions): Promise<Listener> {
    const { quiche } = await this.#load();
    assertPort(options.port, 0);
    const { maxHandshakes = DEFAULT_MAX_HANDSHAKES, maxConnections = DEFAULT_MAX_CONNECTIONS } = options;
    assertWhole("maxHandshakes", maxHandshakes, 1);
    assertWhole("maxConnections", maxConnections, 1);
    const [host = options.host] = await resolveHost(options.host).catch((cause: unknown) => {
      throw unbindable(addressText(options.host, options.port), cause);
    });
    return QuicListener.open(
      {
        host,
        port: options.port,
        alpn: options.alpn,
        config: options,
        limits: completeLimits(options.limits),
        maxHandshakes,
        maxConnections,
        resetKey: resetKeyOf(options) ?? this.#randomBytes(RESET_KEY_BYTES),
      },
      {
        quiche,
        tokens: new AddressTokens(this.#randomBytes(TOKEN_KEY_BYTES), { clock: this.#clock }),
        randomBytes: this.#randomBytes,
        monotonicMs: () => this.#clock.monotonicMs(),
        clock: this.#clock,
        scratch: this.#scratch,
        logger: this.#logger,
      },
    );
  }

  async dial(options: DialOptions): Promise<Connection> {
    options.signal?.throwIfAborted();
    const { configs, dialer } = await this.#load();
    assertPort(options.port, 1);
    const limits = completeLimits(options.limits);
    const { roots, credentials, alpn } = options;
    const config = configs.configFor({ roots, credentials, alpn, limits });
    const { host, port, serverName, answerTimeoutMs, signal } = options;
    if (answerTimeoutMs !== undefined) assertWhole("answerTimeoutMs", answerTimeoutMs, 1);
    return dialer.dial({ host, port, serverName, config, limits, answerTimeoutMs, signal });
  }

  async probe(options: ProbeOptions): Promise<readonly Uint8Array[]> {
    options.signal?.throwIfAborted();
    const { configs, dialer } = await this.#load();
    assertPort(options.port, 1);
    const limits = completeLimits(options.limits);
    const config = configs.configFor({ roots: [], alpn: options.alpn, limits });
    const { host, port, serverName, signal } = options;
    return dialer.probe({ host, port, serverName, config, limits, signal });
  }

  #load(): Promise<Loaded> {
    this.#loading ??= this.#loadOnce();
    return this.#loading;
  }

  async #loadOnce(): Promise<Loaded> {
    let quiche: NativeQuiche;
    try {
      quiche = await loadNative();
    } catch (cause) {
      throw new RksError("UNSUPPORTED", `there is no QUIC for "${process.platform}-${process.arch}" here`, {
        cause,
        suggestion:
          "Use a platform that @matrixai/quic has a binding for, such as Linux x64 with glibc 2.34.",
      });
    }
    const configs = new DialConfigs(quiche);
    const dialer = new Dialer({
      quiche,
      randomBytes: this.#randomBytes,
      scratch: this.#scratch,
      logger: this.#logger,
    });
    return { quiche, configs, dialer };
  }
}

function resetKeyOf({ resetKey }: ListenOptions): Uint8Array | undefined {
  if (resetKey === undefined || resetKey.length === RESET_KEY_BYTES) return resetKey;
  throw new RksError("CONFIG_INVALID", `a reset key of ${resetKey.length} bytes cannot be used`, {
    suggestion: `Use ${RESET_KEY_BYTES} random bytes.`,
  });
}

function assertPort(port: number, least: number): void {
  if (Number.isInteger(port) && port >= least && port <= MAX_PORT) return;
  throw new RksError("CONFIG_INVALID", `port "${port}" is not a whole number from ${least} to ${MAX_PORT}`, {
    suggestion: "Correct the port.",
  });
}
