import type { Clock, Message, SocketAddress } from "@rk8s/protocol";
import { RksError } from "@rk8s/protocol";
import type { RecordCollection, Storage, Stored } from "@rk8s/storage";
import type { CertificateRequest } from "@rk8s/x509";
import { assertWelcome } from "../nodes/node-certificates.js";
import { type NodeRecord, nodeRecords } from "../nodes/node-record.js";
import type { ProvenRequest } from "../pki/cluster-request.js";
import { assertPinCounts } from "../trust/client-issuer.js";
import type { CertificateIssuer } from "./certificate-issuer.js";
import { cidrJoinCheck } from "./cidr-join-check.js";
import type { JoinCheckRequest } from "./join-check.js";
import { assertNameFree, assertScope, assertUsable, chooseNodeName } from "./join-rules.js";
import { type JoinTokenRecord, joinTokenRecords } from "./join-token-record.js";
import { isRepeatable, type RepeatAnswer, repeatAnswers } from "./repeat-answer.js";

/** A request to join, with everything that its proof covers. */
export interface SignRequest {
  readonly message: Message<"CertificateSign">;
  /** Body of this connection's Hello as received. */
  readonly hello: Uint8Array;
  /** Body of the Welcome as sent; its nonce was fresh and is spent. */
  readonly welcome: Uint8Array;
  /** SubjectPublicKeyInfo (DER) of the leaf that this very connection was given. */
  readonly serverLeafSpki: Uint8Array;
  readonly alpn: string;
  readonly remoteAddress: SocketAddress;
}

/** Who asks: the request, read. */
export interface Applicant extends SignRequest {
  readonly csr: CertificateRequest;
  /** Check the request's signature and key, once. @throws {RksError} CSR_INVALID, KEY_TOO_WEAK. */
  readonly prove: () => ProvenRequest;
  readonly spkiSha256: string;
  readonly signal: AbortSignal;
}

/** Everything that was read for one join, and what follows from it. */
export interface JoinPlan {
  readonly nodeName: string;
  readonly csr: ProvenRequest;
  readonly token: Stored<JoinTokenRecord>;
  readonly node: Stored<NodeRecord> | undefined;
  readonly answered: Stored<RepeatAnswer> | undefined;
}

/** Reads what a join depends on and applies every rule to it, in the order that architecture.md states. */
export class JoinPlanner {
  readonly #clock: Clock;
  readonly #issuer: Pick<CertificateIssuer, "roots">;
  readonly #tokens: RecordCollection<JoinTokenRecord>;
  readonly #nodes: RecordCollection<NodeRecord>;
  readonly #answers: RecordCollection<RepeatAnswer>;

  constructor(ports: {
    readonly barrier: Storage;
    readonly clock: Clock;
    readonly issuer: Pick<CertificateIssuer, "roots">;
  }) {
    this.#clock = ports.clock;
    this.#issuer = ports.issuer;
    this.#tokens = joinTokenRecords(ports.barrier);
    this.#nodes = nodeRecords(ports.barrier);
    this.#answers = repeatAnswers(ports.barrier);
  }

  /** Read everything and apply every rule. Nothing is written. */
  async plan(applicant: Applicant): Promise<JoinPlan | { readonly repeat: RepeatAnswer }> {
    const { message, spkiSha256 } = applicant;
    const now = this.#clock.now();
    const token = await this.#tokens.read(message.tokenId);
    if (token === undefined) throw invalidToken(message.tokenId);
    assertPinCounts(token.record, this.#issuer.roots);
    const answered = await this.#answers.read(answerName(applicant));
    if (answered !== undefined && (await this.#isRepeat(applicant, token.record, answered.record))) {
      return { repeat: answered.record };
    }
    const csr = applicant.prove();
    assertUsable(token.record, now);
    assertScope(token.record, message);
    const claimedName = message.nodeName ?? token.record.node ?? "";
    await cidrJoinCheck.check(checkRequest(applicant, claimedName, token.record), applicant);
    if (message.role === "operator") return { nodeName: "", csr, token, node: undefined, answered };
    const nodeName = chooseNodeName(token.record, message.nodeName, csr);
    const node = await this.#nodes.read(nodeName);
    assertNameFree(token.record, nodeName, node?.record, spkiSha256);
    if (
      answered !== undefined &&
      isRepeatable(answered.record, now) &&
      answered.record.nodeName !== nodeName
    ) {
      throw keyInUse(answered.record.nodeName);
    }
    return { nodeName, csr, token, node, answered };
  }

  /** Whether the applicant is to get the same bytes again. @throws {RksError} NODE_BANNED, IDENTITY_CLONED. */
  async #isRepeat(applicant: Applicant, token: JoinTokenRecord, answer: RepeatAnswer): Promise<boolean> {
    const { message } = applicant;
    if (token.revokedAt !== null || token.role !== message.role) return false;
    if (!isRepeatable(answer, this.#clock.now())) return false;
    if (answer.requestedName !== (message.nodeName ?? "")) return false;
    if (message.role === "operator") return true;
    const node = await this.#nodes.read(answer.nodeName);
    if (node !== undefined) assertWelcome(node.record);
    return node?.record.serialNumber === answer.serialNumber;
  }
}

/** What a JoinCheck gets to see of it. */
export function checkRequest(
  { message, remoteAddress }: Applicant,
  nodeName: string,
  token: JoinTokenRecord,
): JoinCheckRequest {
  return { role: message.role, nodeName, remoteAddress, token, csr: message.csr };
}

/** Where the answer to this key with this token is kept. */
export function answerName({ message, spkiSha256 }: Applicant): string {
  return `${message.tokenId}/${spkiSha256}`;
}

/** What whoever does not hold the token is told, whether there is such a token or not. */
export function invalidToken(id: string): RksError {
  return new RksError("JOIN_TOKEN_INVALID", `join token "${id}" is not valid`, {
    suggestion: "Check that the token is this cluster's, or ask for a new one: `rks gen join-token`.",
  });
}

function keyInUse(nodeName: string): RksError {
  return new RksError("ALREADY_EXISTS", `this key has just joined as node "${nodeName}"`, {
    suggestion: "Make a new key for another node.",
  });
}
