import { type Clock, LinkedAbort, type Logger, RksError, withDeadline } from "@rk8s/protocol";

import type { Budget } from "./budget.js";
import { assertNotExpired, type EtcdCredentials, type Identity, loadCredentials } from "./credentials.js";
import { type Endpoint, parseEndpoints } from "./endpoint.js";
import { EtcdFailure } from "./etcd-failure.js";
import { type Grpc, Member, type MemberCertificate } from "./member.js";
import {
  emptyRequest,
  type KeyRange,
  MEMBER_LIST,
  RANGE,
  rangeRequest,
  type Rpc,
  WATCH,
  type WatchAnswer,
} from "./messages.js";
import { errorOf, refusalOf } from "./refusal.js";
import { verdict } from "./verdict.js";

/** Between rounds in which no member could answer; doubled each time. */
const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 400;

export interface MembersInit {
  readonly endpoints: readonly string[];
  readonly credentials?: EtcdCredentials | undefined;
  readonly prefix: string;
  /** What every client may read, asked of each member before anything else. */
  readonly range: KeyRange;
}

/** How one member took credentials. */
export interface CredentialsTrial {
  readonly url: string;
  /** Undefined: it answered. */
  readonly error: RksError | undefined;
  /** The one that it showed; undefined: none that is good. */
  readonly certificate: MemberCertificate | undefined;
}

export interface MembersPorts {
  readonly grpc: Grpc;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * The members of one store. All requests go to one of them until it fails; then to the next. A member that cannot answer
 * costs one request's time, not every request's. Each is first asked which cluster it belongs to: a token that is
 * used once in each of two clusters is used twice. It is asked again after each connection that was lost, for what is
 * at the same address then may be another one.
 */
export class Members {
  readonly #prefix: string;
  readonly #probe: Buffer;
  readonly #ports: MembersPorts;
  #identity: Identity | undefined;
  /** What was configured; members that the cluster itself names come after them. */
  readonly #configured: readonly Endpoint[];
  #members: readonly Member[];
  /** The id of the cluster, and who has said it. */
  #cluster: { readonly id: string; readonly url: string } | undefined;
  /** Over which connection each has said that it belongs to the cluster. */
  readonly #introduced = new WeakMap<Member, number>();
  #preferred = 0;
  #isClosed = false;

  /** @throws {RksError} CONFIG_INVALID, CERTIFICATE_EXPIRED */
  constructor(init: MembersInit, ports: MembersPorts) {
    this.#prefix = init.prefix;
    this.#probe = rangeRequest(init.range, { limit: 1, keysOnly: true }).finish();
    this.#ports = ports;
    const { credentials } = init;
    this.#identity = credentials === undefined ? undefined : loadCredentials(credentials, ports.clock.now());
    this.#configured = parseEndpoints(init.endpoints);
    this.#members = this.#create(this.#configured);
  }

  /** Of those that are used now. */
  get urls(): readonly string[] {
    return this.#members.map(({ endpoint }) => endpoint.url);
  }

  /**
   * Ask the cluster who its members are and use those that are new too, after the configured ones. What is advertised for
   * others may be wrong from here: it is checked like every member before it is used.
   * @throws {EtcdFailure | RksError}
   */
  async learn(budget: Budget): Promise<void> {
    const advertised = await this.repeatedly(MEMBER_LIST, emptyRequest().finish(), budget);
    const mustBeSecure = this.#configured.some(({ isSecure }) => isSecure);
    const learned = usable(advertised).filter(
      ({ host, port, isSecure }) =>
        (isSecure || !mustBeSecure) &&
        !this.#configured.some((one) => one.host === host && one.port === port),
    );
    const endpoints = [...this.#configured, ...learned];
    const urls = endpoints.map(({ url }) => url);
    if (urls.join(" ") === this.urls.join(" ")) return;
    this.#use(endpoints);
    this.#ports.logger.info("The store's members were learnt", { urls });
  }

  /**
   * Connect with these credentials from now on. What is under way ends in peace, and a member that does not take them keeps
   * the connection that it has, and gets no other. Resolves when each has been tried.
   * @throws {RksError} CONFIG_INVALID, CERTIFICATE_EXPIRED
   */
  async useCredentials(credentials: EtcdCredentials, budget: Budget): Promise<void> {
    this.#identity = loadCredentials(credentials, this.#ports.clock.now());
    await this.handOver(budget);
  }

  /** Let members that are still reached with former credentials be reached with the newest ones, where that works. */
  async handOver(budget: Budget): Promise<void> {
    const former = this.#members.filter(({ identity }) => identity !== this.#identity);
    await Promise.all(former.map((member) => this.#handOver(member, budget)));
  }

  /**
   * Connect to every member that is used now with these credentials, beside the connections that there are, and let it answer
   * a request: who has TLS 1.3 refuses a client after the handshake. Gives those that fail, and why.
   * @throws {RksError} CONFIG_INVALID, CERTIFICATE_EXPIRED
   */
  async tryCredentials(credentials: EtcdCredentials, budget: Budget): Promise<readonly CredentialsTrial[]> {
    const identity = loadCredentials(credentials, this.#ports.clock.now());
    const endpoints = this.#members.map(({ endpoint }) => endpoint).filter(({ isSecure }) => isSecure);
    return Promise.all(
      endpoints.map(async (endpoint) => {
        const member = new Member({ endpoint, identity, prefix: this.#prefix }, this.#ports);
        try {
          const error = await refusalOf(member, this.#probe, budget.nextAttemptMs);
          return { url: endpoint.url, error, certificate: member.certificate };
        } finally {
          member.retire();
        }
      }),
    );
  }

  /**
   * Ask one member, once.
   * @throws {EtcdFailure} after which nobody may know whether the request was done; see `FailureKind`.
   */
  async once<T>(rpc: Rpc<T>, request: Buffer, budget: Budget): Promise<T> {
    const member = this.#current();
    try {
      return await this.#ask(member, rpc, request, budget);
    } catch (reason) {
      if (reason instanceof EtcdFailure && !reason.isFinal) this.#leave(member, reason);
      throw reason;
    }
  }

  /**
   * Ask one member after the other until one answers or the budget is spent; for requests that may be done twice.
   * @throws {EtcdFailure} that is final
   * @throws {RksError} for what the members failed with.
   */
  async repeatedly<T>(rpc: Rpc<T>, request: Buffer, budget: Budget): Promise<T> {
    const failures = new Map<Member, EtcdFailure>();
    let pauseMs = FIRST_PAUSE_MS;
    for (let tries = 1; ; tries += 1) {
      const member = this.#current();
      try {
        return await this.#ask(member, rpc, request, budget);
      } catch (reason) {
        if (!(reason instanceof EtcdFailure) || reason.isFinal) throw reason;
        failures.set(member, reason);
        this.#leave(member, reason);
      }
      const isRoundOver = tries % this.#members.length === 0;
      if (budget.isSpent || isRoundOver) await this.#judge(failures, budget);
      if (!isRoundOver) continue;
      await this.#ports.clock.sleep(pauseMs);
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    }
  }

  /**
   * Watch at one member until it fails, is left or `signal` is aborted. The first answer must come in `firstMs`.
   * @throws {EtcdFailure}
   */
  async *watch(
    request: Buffer,
    options: { readonly firstMs: number; readonly signal: AbortSignal },
  ): AsyncGenerator<WatchAnswer, void, void> {
    const { firstMs } = options;
    const member = this.#current();
    const end = new LinkedAbort(options.signal);
    const answers = member.stream(WATCH, request, end.signal);
    try {
      await this.#introduce(member, firstMs);
      const first = await withDeadline(() => answers.next(), {
        clock: this.#ports.clock,
        timeoutMs: firstMs,
        attempt: `the store at "${member.endpoint.url}" did not begin to watch`,
      });
      if (first.done !== true) yield first.value;
      yield* answers;
    } catch (reason) {
      const failure = reason instanceof RksError ? new EtcdFailure("late", reason) : reason;
      if (failure instanceof EtcdFailure && !failure.isFinal) this.#leave(member, failure);
      throw failure;
    } finally {
      end.abort();
      await answers.return();
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const member of this.#members) member.retire();
  }

  #current(): Member {
    const member = this.#members[this.#preferred] ?? this.#members[0];
    if (member === undefined) throw new RksError("INTERNAL", "a store without members");
    if (member.identity === this.#identity || member.isConnected || this.#isClosed) return member;
    return this.#succeed(member, this.#successorOf(member));
  }

  async #handOver(member: Member, budget: Budget): Promise<void> {
    const successor = this.#successorOf(member);
    if (member.isConnected) {
      const refusal = await refusalOf(successor, this.#probe, budget.nextAttemptMs);
      if (refusal !== undefined && member.isConnected) {
        successor.retire();
        this.#hold(member, refusal);
        return;
      }
    }
    const isWanted = this.#members.includes(member) && successor.identity === this.#identity;
    if (isWanted && !this.#isClosed) this.#succeed(member, successor);
    else successor.retire();
  }

  #hold(member: Member, { code, message: reason }: RksError): void {
    if (member.isHeld) return;
    member.hold();
    const { url } = member.endpoint;
    this.#ports.logger.error(
      "The store's new credentials do not work; its connection is kept while it lasts",
      {
        url,
        code,
        reason,
      },
    );
  }

  #successorOf({ endpoint }: Member): Member {
    return new Member({ endpoint, identity: this.#identity, prefix: this.#prefix }, this.#ports);
  }

  #succeed(member: Member, successor: Member): Member {
    this.#replace(this.#members.map((one) => (one === member ? successor : one)));
    return successor;
  }

  async #ask<T>(member: Member, rpc: Rpc<T>, request: Buffer, budget: Budget): Promise<T> {
    await this.#introduce(member, budget.nextAttemptMs);
    return member.unary(rpc, request, budget.nextAttemptMs);
  }

  /** @throws {EtcdFailure} when the member belongs to another cluster, or does not answer. */
  async #introduce(member: Member, timeoutMs: number): Promise<void> {
    const { connection } = member;
    if (this.#introduced.get(member) === connection) return;
    const { cluster: id } = await member.unary(RANGE, this.#probe, timeoutMs);
    const { url } = member.endpoint;
    this.#cluster ??= { id, url };
    if (id !== this.#cluster.id) throw new EtcdFailure("foreign", otherCluster(url, this.#cluster.url));
    this.#introduced.set(member, connection);
  }

  #use(endpoints: readonly Endpoint[]): void {
    this.#replace(
      endpoints.flatMap((endpoint) => {
        const present = this.#members.find((member) => member.endpoint.url === endpoint.url);
        return present ?? this.#create([endpoint]);
      }),
    );
  }

  #create(endpoints: readonly Endpoint[]): Member[] {
    const { logger } = this.#ports;
    for (const { url, isSecure } of endpoints) {
      if (!isSecure)
        logger.warn("The store is reached without TLS; anything on this machine can read it", { url });
    }
    return endpoints.map(
      (endpoint) => new Member({ endpoint, identity: this.#identity, prefix: this.#prefix }, this.#ports),
    );
  }

  #replace(members: readonly Member[]): void {
    const url = this.#members[this.#preferred]?.endpoint.url;
    const left = this.#members.filter((member) => !members.includes(member));
    this.#members = members;
    this.#preferred = Math.max(
      0,
      members.findIndex(({ endpoint }) => endpoint.url === url),
    );
    for (const member of left) member.retire();
  }

  /** Ask the next one from now on. Watches at this one resume there, unless it is the only one and just busy. */
  #leave(member: Member, failure: EtcdFailure): void {
    if (member !== this.#members[this.#preferred]) return;
    this.#preferred = (this.#preferred + 1) % this.#members.length;
    if (this.#members.length === 1) return;
    member.endStreams();
    this.#ports.logger.warn("A member of the store failed; asking the next one", {
      url: member.endpoint.url,
      reason: failure.message,
      next: this.#members[this.#preferred]?.endpoint.url,
    });
  }

  /** Throw what the failures mean, when time is up or when trying again is of no use at any member. */
  async #judge(failures: ReadonlyMap<Member, EtcdFailure>, budget: Budget): Promise<void> {
    if (this.#identity !== undefined) assertNotExpired(this.#identity, this.#ports.clock.now());
    const errors = await Promise.all([...failures].map(([member, failure]) => errorOf(member, failure)));
    if (budget.isSpent || errors.every(({ retryable }) => !retryable)) throw verdict(errors);
  }
}

/** The addresses that can be used, of those that members advertise. */
function usable(urls: readonly string[]): readonly Endpoint[] {
  return urls.flatMap((url) => {
    try {
      return parseEndpoints([url]);
    } catch {
      return [];
    }
  });
}

function otherCluster(url: string, known: string): RksError {
  const message =
    url === known
      ? `what answers at "${url}" is another cluster than before`
      : `the member at "${url}" belongs to another cluster than "${known}"`;
  return new RksError("CONFIG_INVALID", message, {
    suggestion: "Name the members of one etcd cluster only.",
  });
}
