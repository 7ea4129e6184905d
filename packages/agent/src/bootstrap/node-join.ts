import { RksError, type Clock, type ErrorCode, type JoinToken, type Logger } from "@rk8s/protocol";
import type { Identity } from "../identity/identity.js";
import { Comeback } from "../recovery/comeback.js";
import { rememberJoin, recallNode } from "../recovery/remember.js";
import type { RecoveryOptions } from "../recovery/recovery-options.js";
import { IdentityKeeper } from "../identity/identity-keeper.js";
import type { IdentityStash } from "../identity/identity-stash.js";
import type { AgentPorts } from "../ports.js";
import { Enrolment, prepareEnrolment, type EnrolmentOptions } from "./enrolment.js";
import { joinPause } from "./join-pause.js";
import { resume, type Resumed } from "./resume.js";
import { RksAddresses } from "./rks-addresses.js";

export interface NodeJoinOptions extends Omit<EnrolmentOptions, "joinToken" | "role"> {
  /** Not needed when the stash holds an identity. */
  readonly joinToken?: string | JoinToken | undefined;
  readonly stash?: IdentityStash | undefined;
  /** Brings the node back when its key was lost and the token is no good any more, or there is none. */
  readonly recovery?: RecoveryOptions | undefined;
}

/** How a node has got its identity. */
export interface JoinedNode {
  readonly identity: Identity;
  /** `resumed`: the stash had it. `recovered`: its key was lost, and the machine or a grant brought the node back. */
  readonly origin: "joined" | "resumed" | "recovered";
}

/** Refusals of a token that a node of before has no more need of: it may come back without. */
const WITHOUT_TOKEN: ReadonlySet<ErrorCode> = new Set([
  "CA_PIN_MISMATCH",
  "JOIN_TOKEN_EXPIRED",
  "JOIN_TOKEN_INVALID",
  "JOIN_TOKEN_REVOKED",
  "JOIN_TOKEN_SCOPE",
  "JOIN_TOKEN_USED",
  "NODE_NAME_TAKEN",
]);

interface ObtainOptions {
  readonly signal: AbortSignal;
  /** Called before each pause. */
  readonly onRetry: (attempt: number, delayMs: number, error: RksError) => void;
}

/** A node on its way to an identity: with the one that a process before it had, or by joining. */
export class NodeJoin implements Disposable {
  readonly addresses: RksAddresses;
  /** Keeps the identity from now on. */
  readonly keeper: IdentityKeeper;
  readonly #rksAddress: string;
  readonly #recovery: JoinRecovery;
  #source: Enrolment | Comeback | Identity;

  constructor(
    source: Enrolment | Comeback | Identity,
    init: {
      readonly keeper: IdentityKeeper;
      /** As they were given. */
      readonly rksAddress: string;
      readonly addresses: RksAddresses;
      readonly recovery: JoinRecovery;
    },
  ) {
    this.#source = source;
    this.keeper = init.keeper;
    this.addresses = init.addresses;
    this.#rksAddress = init.rksAddress;
    this.#recovery = init.recovery;
  }

  /**
   * The identity, when there is one; asks for it until then, always with the same key. Undefined when stopped. The key
   * is kept before the request leaves, the certificate before this resolves. The identity is the caller's.
   * @throws {RksError} what the node was refused with for good.
   */
  async obtain(ports: AgentPorts, { signal, onRetry }: ObtainOptions): Promise<JoinedNode | undefined> {
    const source = this.#source;
    if (!("enrol" in source)) return { identity: source, origin: "resumed" };
    if (source instanceof Enrolment) {
      const { token: joinToken, nodeName, ...pending } = source.request;
      const nothing = { generation: 0, roots: [] };
      await this.keeper.keep({ nodeName, trust: nothing, joinToken, pending });
    }
    let identity: Identity | undefined;
    for (let attempt = 1; ; attempt++) {
      const address = this.addresses.current;
      try {
        identity ??= await this.#ask(ports, signal);
        await this.#keep(identity);
        return { identity, origin: this.#source instanceof Comeback ? "recovered" : "joined" };
      } catch (reason) {
        const error = RksError.from(reason);
        const isOver = signal.aborted || !error.retryable;
        if (!isOver) {
          const delayMs = joinPause({ code: error.code, address, attempt }, this.addresses, ports);
          onRetry(attempt, delayMs, error);
          await ports.clock.sleep(delayMs, { signal }).catch(() => undefined);
        }
        if (!isOver && !signal.aborted) continue;
        identity?.[Symbol.dispose]();
        if (signal.aborted) return undefined;
        throw error;
      }
    }
  }

  /**
   * The certificate ran out, and with it what the node had to renew it with. As after a reboot, a key of the machine or a
   * grant may bring it back, with what is remembered now; while the control plane is away it is waited for. Undefined
   * when stopped.
   * @throws {RksError} `expired` when no way back is open; what else the node was refused with for good.
   */
  async comeBack(
    expired: RksError,
    ports: AgentPorts,
    options: ObtainOptions & { readonly nodeName: string },
  ): Promise<JoinedNode | undefined> {
    const comeback = await this.#recovery.recall?.(options.nodeName);
    if (comeback === undefined) throw expired;
    this.#source[Symbol.dispose]();
    this.#source = comeback;
    if (!(await comeback.isOpen(options))) throw expired;
    options.onRetry(1, 0, expired);
    try {
      return await this.obtain(ports, options);
    } catch (reason) {
      const error = RksError.from(reason);
      throw error.code === "IDENTITY_LOST" ? expired : error;
    }
  }

  /** One request. A token that is refused makes way for what brings the node back without one, if there is that. */
  async #ask(ports: AgentPorts, signal: AbortSignal): Promise<Identity> {
    const source = this.#source as Enrolment | Comeback;
    try {
      return await source.enrol(ports, { signal });
    } catch (reason) {
      const refusal = RksError.from(reason);
      if (source instanceof Comeback || signal.aborted || !WITHOUT_TOKEN.has(refusal.code)) throw refusal;
      const comeback = this.#recovery.prepareComeback?.(refusal);
      if (comeback === undefined) throw refusal;
      source[Symbol.dispose]();
      this.#source = comeback;
      return comeback.enrol(ports, { signal });
    }
  }

  /** The number of the next recovery is on disk, and the certificate in the stash, before it is used. */
  async #keep(identity: Identity): Promise<void> {
    await rememberJoin(identity, { rksAddress: this.#rksAddress, memory: this.#recovery.memory });
    const { trustGeneration: generation, trustBundle: roots, refusedIssuers } = identity;
    const trust = { generation, roots, refusedIssuers };
    await this.keeper.keep({ nodeName: identity.nodeName, trust, current: identity });
  }

  /** Overwrite the key, unless it is the caller's or has become an identity's. */
  [Symbol.dispose](): void {
    this.#source[Symbol.dispose]();
  }
}

/**
 * Check the options and make what they leave out. Nothing is sent.
 * @throws {RksError} USAGE_INVALID, JOIN_TOKEN_MALFORMED, NODE_NAME_INVALID, CONFIG_INVALID, CA_PIN_MISMATCH,
 * CSR_INVALID.
 */
export async function prepareNodeJoin(
  options: NodeJoinOptions,
  ports: { readonly logger: Logger; readonly clock: Clock; readonly random?: () => number },
): Promise<NodeJoin> {
  const { rksAddress, stash, joinToken } = options;
  const addresses = RksAddresses.parse(rksAddress, ports.random);
  const resumed = await resumeOrNot(options, ports);
  const keeper = new IdentityKeeper({ stash, rksAddress, instanceId: resumed?.instanceId }, ports);
  const recovery = await prepareRecovery({ ...options, addresses }, ports);
  const init = { keeper, rksAddress, addresses, recovery };
  if (resumed?.kind === "identity") return new NodeJoin(resumed.identity, init);
  if (resumed === undefined && joinToken === undefined) {
    const comeback = recovery.prepareComeback?.();
    if (comeback !== undefined) return new NodeJoin(comeback, init);
    throw new RksError("USAGE_INVALID", "there is neither a join token nor an identity that was kept", {
      suggestion: "Make a token with `rks gen join-token`.",
    });
  }
  const enrolment = await prepareEnrolment(
    { ...options, addresses, joinToken: joinToken!, ...resumed, role: "node" },
    resumed?.keyPair === undefined ? {} : { keyPairIsOurs: true },
  );
  return new NodeJoin(enrolment, init);
}

/** What a join needs to know of coming back. */
interface JoinRecovery {
  readonly memory: RecoveryOptions["memory"] | undefined;
  /** Undefined when nothing is known of a node of before. `refusal`: why its token was no help. */
  readonly prepareComeback: ((refusal?: RksError) => Comeback) | undefined;
  /** The same of this node, with what is remembered at the moment of the call. Never rejects. */
  readonly recall: ((nodeName: string) => Promise<Comeback | undefined>) | undefined;
}

async function prepareRecovery(
  { recovery, addresses, nodeName, joinToken }: NodeJoinOptions,
  ports: { readonly logger: Logger },
): Promise<JoinRecovery> {
  if (recovery === undefined) return { memory: undefined, prepareComeback: undefined, recall: undefined };
  const { memory, methods, machineIdSha256 } = recovery;
  const init = { addresses, methods, machineIdSha256 };
  const recall = async (name: string): Promise<Comeback | undefined> => {
    const remembered = await recallNode({ memory, nodeName: name, hasToken: true }, ports);
    return remembered && Comeback.prepare({ remembered, ...init });
  };
  const remembered = await recallNode({ memory, nodeName, hasToken: joinToken !== undefined }, ports);
  if (remembered === undefined) return { memory, prepareComeback: undefined, recall };
  return { memory, prepareComeback: (refusal) => Comeback.prepare({ remembered, ...init, refusal }), recall };
}

/** A stash that another version has filled, and that cannot be read here, is as good as none. */
async function resumeOrNot(
  options: NodeJoinOptions,
  { logger }: { readonly logger: Logger },
): Promise<Resumed | undefined> {
  try {
    return await resume(options);
  } catch (reason) {
    logger.warn("The kept identity cannot be used", { reason: RksError.from(reason).message });
    return undefined;
  }
}
