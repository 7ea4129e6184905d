import { isIP } from "node:net";
import { checkServerIdentity, type PeerCertificate } from "node:tls";

import { type Clock, RksError, withDeadline } from "@rk8s/protocol";
import type * as grpcModule from "@grpc/grpc-js";

import type { Identity } from "./credentials.js";
import { diagnose } from "./diagnose.js";
import type { Endpoint } from "./endpoint.js";
import type { EtcdFailure } from "./etcd-failure.js";
import { etcdFailure } from "./etcd-failure.js";
import type { Rpc } from "./messages.js";

/** gRPC's library, loaded when the first store is opened. */
export type Grpc = typeof grpcModule;

/** etcd refuses clients that ping more often than every 5 s. */
const KEEPALIVE_MS = 10_000;
const KEEPALIVE_TIMEOUT_MS = 2000;
/** A page of entries that is longer is asked for in smaller ones. */
const MAX_ANSWER_BYTES = 32 * 1024 * 1024;
/** What a member may have sent before it is read; gRPC's 64 KiB make large pages slow. */
const WINDOW_BYTES = 4 * 1024 * 1024;
/** For how long a diagnosis is believed. */
const DIAGNOSIS_MS = 1000;
/** The name in TLS's server name extension where the endpoint is an address: addresses may not be there (RFC 6066 §3). */
const NO_NAME = "etcd.invalid";

export interface MemberInit {
  readonly endpoint: Endpoint;
  /** Undefined only for endpoints without TLS. */
  readonly identity: Identity | undefined;
  readonly prefix: string;
}

export interface MemberPorts {
  readonly grpc: Grpc;
  readonly clock: Clock;
}

/** When the certificate of a member begins and ends; milliseconds. */
export interface MemberCertificate {
  readonly notBefore: number;
  readonly notAfter: number;
}

/** One member of the store with a channel of its own, which connects when it is first used. */
export class Member {
  readonly endpoint: Endpoint;
  readonly #init: MemberInit;
  readonly #ports: MemberPorts;
  readonly #client: grpcModule.Client;
  readonly #streams = new Set<() => void>();
  #diagnosis: Promise<RksError | undefined> | undefined;
  #inFlight = 0;
  #isRetired = false;
  #isLast = false;
  #isClosed = false;
  #connection = 0;
  #certificate: MemberCertificate | undefined;

  constructor(init: MemberInit, ports: MemberPorts) {
    this.endpoint = init.endpoint;
    this.#init = init;
    this.#ports = ports;
    this.#client = createClient(init, ports.grpc, (certificate) => {
      this.#certificate = certificate;
    });
    this.#countConnections(this.#client.getChannel());
  }

  /** Another number after each connection that was lost, whoever answers then. */
  get connection(): number {
    return this.#connection;
  }

  /** The one that it showed when the last connection to it was made; undefined before that, and without TLS. */
  get certificate(): MemberCertificate | undefined {
    return this.#certificate;
  }

  /** With which it connects. */
  get identity(): Identity | undefined {
    return this.#init.identity;
  }

  /** Whether there is a connection to it at this moment. */
  get isConnected(): boolean {
    const { READY } = this.#ports.grpc.connectivityState;
    return this.#client.getChannel().getConnectivityState(false) === READY;
  }

  /** Whether the present connection is its last one. */
  get isHeld(): boolean {
    return this.#isLast;
  }

  /** Make no connection after the present one: its credentials do not count any more. */
  hold(): void {
    this.#isLast = true;
  }

  /** Ask once. @throws {EtcdFailure} */
  async unary<T>(rpc: Rpc<T>, request: Buffer, timeoutMs: number): Promise<T> {
    const { url } = this.endpoint;
    try {
      return await withDeadline((signal) => this.#call(rpc, request, signal), {
        clock: this.#ports.clock,
        timeoutMs,
        attempt: `the store at "${url}" did not answer`,
        suggestion: "Check the load and the disk of that etcd member, and the network to it.",
      });
    } catch (reason) {
      throw this.#failure(reason);
    }
  }

  /**
   * Send one request and give every answer until `signal` is aborted or the member is left; then it ends quietly.
   * @throws {EtcdFailure}
   */
  async *stream<T>(rpc: Rpc<T>, request: Buffer, signal: AbortSignal): AsyncGenerator<T, void, void> {
    const call = this.#openStream(rpc);
    this.#inFlight += 1;
    let isCancelled = false;
    const cancel = (): void => {
      isCancelled = true;
      call.cancel();
    };
    // The loop below hears of errors too; this one is for those that come when it has ended.
    call.on("error", () => undefined);
    this.#streams.add(cancel);
    signal.addEventListener("abort", cancel, { once: true });
    try {
      if (signal.aborted) return;
      call.write(request);
      for await (const answer of call) {
        if (isCancelled) return;
        yield answer as T;
      }
    } catch (reason) {
      if (!isCancelled) throw this.#failure(reason);
    } finally {
      signal.removeEventListener("abort", cancel);
      this.#streams.delete(cancel);
      call.cancel();
      this.#ended();
    }
  }

  /** Why there is no connection; undefined when one can be made and what answers speaks HTTP/2. */
  diagnose(): Promise<RksError | undefined> {
    this.#diagnosis ??= this.#diagnose();
    return this.#diagnosis;
  }

  /** End its streams: whoever reads them goes elsewhere. */
  endStreams(): void {
    for (const cancel of this.#streams) cancel();
  }

  /** Take no more requests; those under way are still answered, then the connection is closed. */
  retire(): void {
    if (this.#isRetired) return;
    this.#isRetired = true;
    this.endStreams();
    if (this.#inFlight === 0) this.#close();
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#client.close();
  }

  #countConnections(channel: ReturnType<grpcModule.Client["getChannel"]>): void {
    const { READY, SHUTDOWN } = this.#ports.grpc.connectivityState;
    const state = channel.getConnectivityState(false);
    if (state === SHUTDOWN) return;
    channel.watchConnectivityState(state, Infinity, () => {
      if (state === READY) {
        this.#connection += 1;
        if (this.#isLast) this.#close();
      }
      this.#countConnections(channel);
    });
  }

  async #diagnose(): Promise<RksError | undefined> {
    const { clock } = this.#ports;
    const found = await diagnose(this.endpoint, this.#init.identity, { clock });
    const forget = async (): Promise<void> => {
      await clock.sleep(DIAGNOSIS_MS, { background: true });
      this.#diagnosis = undefined;
    };
    forget().catch(() => undefined);
    return found;
  }

  #call<T>(rpc: Rpc<T>, request: Buffer, signal: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      const call = this.#client.makeUnaryRequest<Buffer, T>(
        rpc.path,
        same,
        rpc.decode,
        request,
        this.#metadata(),
        {},
        (error, answer) => {
          this.#ended();
          if (error === null && answer !== undefined) resolve(answer);
          else reject(error ?? new Error("no answer"));
        },
      );
      this.#inFlight += 1;
      signal.addEventListener("abort", () => call.cancel(), { once: true });
    });
  }

  /** The member may have been left since it was chosen. @throws {EtcdFailure} */
  #openStream<T>(rpc: Rpc<T>): grpcModule.ClientDuplexStream<Buffer, T> {
    try {
      return this.#client.makeBidiStreamRequest<Buffer, T>(rpc.path, same, rpc.decode, this.#metadata());
    } catch (reason) {
      throw this.#failure(reason);
    }
  }

  /** A member that sees no leader says so at once instead of letting the request wait. */
  #metadata(): grpcModule.Metadata {
    const metadata = new this.#ports.grpc.Metadata();
    metadata.set("hasleader", "true");
    return metadata;
  }

  #ended(): void {
    this.#inFlight -= 1;
    if (this.#isRetired && this.#inFlight === 0) this.#close();
  }

  #failure(reason: unknown): EtcdFailure {
    const { prefix, identity } = this.#init;
    return etcdFailure(reason, { url: this.endpoint.url, user: identity?.commonName, prefix });
  }
}

function createClient(
  { endpoint, identity }: MemberInit,
  grpc: Grpc,
  onCertificate: (certificate: MemberCertificate) => void,
): grpcModule.Client {
  const { url, host, port, isSecure } = endpoint;
  const family = isIP(host);
  const target = family === 6 ? `ipv6:[${host}]:${port}` : `${family === 4 ? "ipv4" : "dns"}:${host}:${port}`;
  if (isSecure && identity === undefined) {
    throw new RksError("CONFIG_INVALID", `the endpoint "${url}" needs certificates`, {
      suggestion: "Give the store's CA, a client certificate and its private key.",
    });
  }
  const credentials =
    isSecure && identity !== undefined
      ? grpc.credentials.createFromSecureContext(identity.context, {
          checkServerIdentity: (_name: string, certificate: PeerCertificate) => {
            const refusal = checkServerIdentity(host, certificate);
            const { valid_from: from, valid_to: to } = certificate;
            if (refusal === undefined)
              onCertificate({ notBefore: Date.parse(from), notAfter: Date.parse(to) });
            return refusal;
          },
        })
      : grpc.credentials.createInsecure();
  return new grpc.Client(target, credentials, {
    "grpc.enable_http_proxy": 0,
    "grpc.service_config_disable_resolution": 1,
    "grpc.enable_retries": 0,
    "grpc.use_local_subchannel_pool": 1,
    "grpc.enable_channelz": 0,
    "grpc.keepalive_time_ms": KEEPALIVE_MS,
    "grpc.keepalive_timeout_ms": KEEPALIVE_TIMEOUT_MS,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
    "grpc.max_receive_message_length": MAX_ANSWER_BYTES,
    "grpc-node.flow_control_window": WINDOW_BYTES,
    ...(family === 0 ? {} : { "grpc.ssl_target_name_override": NO_NAME }),
  });
}

function same(bytes: Buffer): Buffer {
  return bytes;
}
