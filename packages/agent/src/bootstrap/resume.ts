import {
  decodeMessage,
  parseJoinToken,
  RksError,
  type Clock,
  type JoinToken,
  type Logger,
} from "@rk8s/protocol";
import type { Identity } from "../identity/identity.js";
import { IdentityKeeper } from "../identity/identity-keeper.js";
import {
  wipeStashed,
  type IdentityStash,
  type StashedIdentity,
  type StashedKey,
} from "../identity/identity-stash.js";
import { KeyPair } from "../identity/key-pair.js";
import { restoreIdentity } from "./certificate-answer.js";

/** Who asks for what a stash holds: it is given to the same node of the same control plane only. */
export interface ResumeOptions {
  readonly stash?: IdentityStash | undefined;
  /** `host:port` of the control plane. */
  readonly rksAddress: string;
  readonly nodeName?: string | undefined;
}

/** What an agent goes on with after its process has died. The receiver owns the keys. */
export type Resumed = { readonly instanceId: string } & (
  | { readonly kind: "identity"; readonly identity: Identity }
  /** The join was under way: its answer may have been lost. The same request, if there was one, gets the same answer. */
  | {
      readonly kind: "join";
      readonly joinToken: JoinToken;
      readonly keyPair?: KeyPair;
      readonly csr?: Uint8Array;
      readonly nodeName: string | undefined;
    }
);

/** Whether the stash holds something to go on with, so that no join token is needed. */
export async function canResume(options: ResumeOptions): Promise<boolean> {
  const state = await loadFor(options);
  if (state === undefined) return false;
  wipeStashed(state);
  return newestAnswered(state) !== undefined || state.joinToken !== undefined;
}

/** Keep a join token from the moment it is known: it may have come from stdin, which can be read only once. */
export async function keepJoinToken(
  joinToken: JoinToken,
  { stash, rksAddress, nodeName }: ResumeOptions,
  ports: { readonly logger: Logger; readonly clock: Clock },
): Promise<void> {
  const keeper = new IdentityKeeper({ stash, rksAddress }, ports);
  await keeper.keep({ nodeName, trust: { generation: 0, roots: [] }, joinToken });
}

/**
 * Take out of the stash what this agent was. A renewal that had its answer goes on with the new certificate, which
 * the control plane takes as well as the old one; one without an answer is begun anew.
 * @throws {RksError} INPUT_INVALID, CERTIFICATE_INVALID, MESSAGE_INVALID when the stash holds what no agent put there.
 */
export async function resume(options: ResumeOptions): Promise<Resumed | undefined> {
  const state = await loadFor(options);
  if (state === undefined) return undefined;
  try {
    const { instanceId } = state;
    const answered = newestAnswered(state);
    if (answered !== undefined) {
      return { kind: "identity", instanceId, identity: restore(answered, state) };
    }
    const { nodeName, pending } = state;
    if (state.joinToken === undefined) return undefined;
    const joinToken = parseJoinToken(new TextDecoder().decode(state.joinToken));
    const key = pending && { keyPair: KeyPair.fromPkcs8(pending.pkcs8), csr: pending.csr };
    return { kind: "join", instanceId, joinToken, nodeName, ...key };
  } finally {
    wipeStashed(state);
  }
}

async function loadFor(options: ResumeOptions): Promise<StashedIdentity | undefined> {
  const state = await options.stash?.load();
  if (state === undefined) return undefined;
  const { nodeName = state.nodeName, rksAddress } = options;
  if (state.rksAddress === rksAddress && state.nodeName === nodeName) return state;
  wipeStashed(state);
  return undefined;
}

type Answered = StashedKey & { readonly answer: Uint8Array };

function newestAnswered({ pending, current }: StashedIdentity): Answered | undefined {
  return [pending, current].find((key): key is Answered => key?.answer !== undefined);
}

function restore({ pkcs8, csr, answer }: Answered, { trust }: StashedIdentity): Identity {
  const message = decodeMessage(answer);
  if (message.type !== "Certificate") {
    throw new RksError("MESSAGE_INVALID", `the kept identity has a "${message.type}" for a certificate`);
  }
  const keyPair = KeyPair.fromPkcs8(pkcs8);
  try {
    return restoreIdentity(message, { role: "node", keyPair, trust, exchange: { csr, answer } });
  } catch (error) {
    keyPair[Symbol.dispose]();
    throw error;
  }
}
