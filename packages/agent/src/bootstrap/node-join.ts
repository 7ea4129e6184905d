import { RksError, type JoinToken, type Logger, type SocketAddress } from "@rk8s/protocol";
import type { Identity } from "../identity/identity.js";
import { IdentityKeeper } from "../identity/identity-keeper.js";
import type { IdentityStash } from "../identity/identity-stash.js";
import type { AgentPorts } from "../ports.js";
import { parseRksAddress } from "./address.js";
import { backoffMs } from "./backoff.js";
import { prepareEnrolment, type Enrolment, type EnrolmentOptions } from "./enrolment.js";
import { resume, type Resumed } from "./resume.js";

export interface NodeJoinOptions extends Omit<EnrolmentOptions, "joinToken" | "role"> {
  /** Not needed when the stash holds an identity. */
  readonly joinToken?: string | JoinToken | undefined;
  readonly stash?: IdentityStash | undefined;
}

/** How a node has got its identity. */
export interface JoinedNode {
  readonly identity: Identity;
  /** Whether the stash had it, so that no token was used. */
  readonly isResumed: boolean;
}

interface ObtainOptions {
  readonly signal: AbortSignal;
  /** Called before each pause. */
  readonly onRetry: (attempt: number, delayMs: number, error: RksError) => void;
}

/** A node on its way to an identity: with the one that a process before it had, or by joining. */
export class NodeJoin implements Disposable {
  readonly address: SocketAddress;
  /** Keeps the identity from now on. */
  readonly keeper: IdentityKeeper;
  #source: Enrolment | Identity;

  constructor(source: Enrolment | Identity, keeper: IdentityKeeper, address: SocketAddress) {
    this.#source = source;
    this.keeper = keeper;
    this.address = address;
  }

  /**
   * The identity, when there is one; asks for it until then, always with the same key. Undefined when stopped. The key
   * is kept before the request leaves, the certificate before this resolves. The identity is the caller's.
   * @throws {RksError} what the node was refused with for good.
   */
  async obtain(ports: AgentPorts, { signal, onRetry }: ObtainOptions): Promise<JoinedNode | undefined> {
    const source = this.#source;
    if (!("enrol" in source)) return { identity: source, isResumed: true };
    const { token: joinToken, nodeName, ...pending } = source.request;
    const nothing = { generation: 0, roots: [] };
    await this.keeper.keep({ nodeName, trust: nothing, joinToken, pending });
    for (let attempt = 1; ; attempt++) {
      try {
        const identity = await source.enrol(ports, { signal });
        const trust = { generation: 0, roots: identity.trustBundle };
        await this.keeper.keep({ nodeName: identity.nodeName, trust, current: identity });
        return { identity, isResumed: false };
      } catch (reason) {
        if (signal.aborted) return undefined;
        const error = RksError.from(reason);
        if (!error.retryable) throw error;
        const delayMs = backoffMs(attempt - 1, ports.random);
        onRetry(attempt, delayMs, error);
        await ports.clock.sleep(delayMs, { signal }).catch(() => undefined);
        if (signal.aborted) return undefined;
      }
    }
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
  ports: { readonly logger: Logger },
): Promise<NodeJoin> {
  const { rksAddress, stash, joinToken } = options;
  const address = parseRksAddress(rksAddress);
  const resumed = await resumeOrNot(options, ports);
  const keeper = new IdentityKeeper({ stash, rksAddress, instanceId: resumed?.instanceId }, ports);
  if (resumed?.kind === "identity") return new NodeJoin(resumed.identity, keeper, address);
  if (resumed === undefined && joinToken === undefined) {
    throw new RksError("USAGE_INVALID", "there is neither a join token nor an identity that was kept", {
      suggestion: "Make a token with `rks gen join-token`.",
    });
  }
  const enrolment = await prepareEnrolment(
    { ...options, joinToken: joinToken!, ...resumed, role: "node" },
    resumed?.keyPair === undefined ? {} : { keyPairIsOurs: true },
  );
  return new NodeJoin(enrolment, keeper, address);
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
