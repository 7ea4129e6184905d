import {
  ALPN,
  fromHex,
  recoverProofTranscript,
  request,
  RksError,
  SERVER_NAME,
  type ErrorCode,
  type Message,
  type SocketAddress,
} from "@rk8s/protocol";
import { RksAddresses } from "../bootstrap/rks-addresses.js";
import { readCertificateAnswer } from "../bootstrap/certificate-answer.js";
import { openConnection } from "../bootstrap/open-connection.js";
import { createCertificateRequest } from "../identity/csr.js";
import type { Identity } from "../identity/identity.js";
import { KeyPair } from "../identity/key-pair.js";
import { findPinnedRoot } from "../identity/trust.js";
import type { AgentPorts } from "../ports.js";
import type { RememberedNode } from "./node-memory.js";
import type { RecoveryMethod } from "./recovery-method.js";
import { signAsNewKey } from "./recover-proof.js";

type Kind = Message<"CertificateRecover">["kind"];

export interface ComebackInit {
  readonly remembered: RememberedNode;
  /** Default: the remembered one. */
  readonly addresses?: RksAddresses | undefined;
  readonly methods: readonly RecoveryMethod[];
  readonly machineIdSha256: Uint8Array;
  /** Why the token that was given is no help. */
  readonly refusal?: RksError | undefined;
}

/** Answers after which another way back may still work. */
const NEXT_RUNG: ReadonlySet<ErrorCode> = new Set(["RECOVERY_REFUSED", "UNSUPPORTED"]);

/**
 * A node on its way back after its key was lost: a key of the machine, then the control plane's grant. Always the same
 * new key, so that an answer that was lost is given again.
 */
export class Comeback implements Disposable {
  readonly #addresses: RksAddresses;
  readonly #init: ComebackInit;
  readonly #keyPair: KeyPair;
  readonly #csr: Uint8Array;
  #keyPairIsOurs = true;

  private constructor(init: ComebackInit, key: { readonly keyPair: KeyPair; readonly csr: Uint8Array }) {
    this.#init = init;
    this.#addresses = init.addresses ?? RksAddresses.parse(init.remembered.rksAddress);
    this.#keyPair = key.keyPair;
    this.#csr = key.csr;
  }

  /** Make the new key. Nothing is sent. @throws {RksError} USAGE_INVALID for an address that is none. */
  static prepare(init: ComebackInit): Comeback {
    const keyPair = KeyPair.create();
    try {
      const csr = createCertificateRequest(keyPair, { commonName: init.remembered.nodeName });
      return new Comeback(init, { keyPair, csr });
    } catch (error) {
      keyPair[Symbol.dispose]();
      throw error;
    }
  }

  get nodeName(): string {
    return this.#init.remembered.nodeName;
  }

  /** Whether any way back may work, as far as this side knows: a key of the machine that can be used, or a grant. */
  async isOpen({ signal }: { readonly signal: AbortSignal | undefined }): Promise<boolean> {
    if (this.#init.remembered.grantsLeft > 0) return true;
    for (const method of this.#init.methods)
      if ((await method.problem({ signal })) === undefined) return true;
    return false;
  }

  /**
   * Try every way back once. The identity owns the new key.
   * @throws {RksError} IDENTITY_LOST when none is open, with the reason of each; NODE_BANNED, IDENTITY_CLONED and what
   * else the control plane refuses for good; CA_PIN_MISMATCH; UNREACHABLE, UNAVAILABLE and other retryable codes.
   */
  async enrol(
    ports: AgentPorts,
    { signal }: { readonly signal: AbortSignal | undefined },
  ): Promise<Identity> {
    return this.#addresses.use((address) => this.#enrolAt(address, ports, signal));
  }

  /** Overwrite the new key, unless it has become an identity's. */
  [Symbol.dispose](): void {
    if (this.#keyPairIsOurs) this.#keyPair[Symbol.dispose]();
  }

  async #enrolAt(
    address: SocketAddress,
    ports: AgentPorts,
    signal: AbortSignal | undefined,
  ): Promise<Identity> {
    const { refusal } = this.#init;
    const reasons = refusal === undefined ? [] : [refusal.message];
    for (const kind of ["tpm", "ssh-host-key", "grant"] as const) {
      const method = this.#init.methods.find((one) => one.kind === kind);
      if (kind !== "grant" && method === undefined) continue;
      const problem = await method?.problem({ signal });
      if (problem !== undefined) {
        reasons.push(problem);
        continue;
      }
      try {
        return await this.#recover(kind, method, ports, { address, signal });
      } catch (reason) {
        const error = RksError.from(reason);
        // Another cluster answers here: what it said to the token is the better answer.
        if (error.code === "CA_PIN_MISMATCH") throw refusal ?? error;
        if (!NEXT_RUNG.has(error.code)) throw error;
        reasons.push(`${kind}: ${error.message}`);
      }
    }
    throw identityLost(this.nodeName, reasons);
  }

  async #recover(
    kind: Kind,
    method: RecoveryMethod | undefined,
    ports: AgentPorts,
    { address, signal }: { readonly address: SocketAddress; readonly signal: AbortSignal | undefined },
  ): Promise<Identity> {
    const { remembered, machineIdSha256 } = this.#init;
    const { nodeName, sequence } = remembered;
    const roots = [await this.#fetchRoot(address, ports, signal)];
    const refusedIssuers = remembered.refusedIssuers?.map((text) => fromHex(text) ?? new Uint8Array());
    const { answerTimeoutMs } = this.#addresses.patience;
    const server = { address, roots, refusedIssuers, answerTimeoutMs };
    const opened = await openConnection(server, { ports, signal });
    await using connection = opened.connection;
    const asked = { nodeName, csr: this.#csr, kind, sequence, machineIdSha256 };
    const transcript = recoverProofTranscript({
      alpn: ALPN,
      hello: opened.helloBody,
      welcome: opened.welcomeBody,
      serverLeafSpki: opened.serverLeaf.spki,
      ...asked,
    });
    const proof =
      method === undefined
        ? signAsNewKey(this.#keyPair, transcript)
        : await method.prove(transcript, { signal });
    const { message, body } = await request(
      connection,
      { type: "CertificateRecover", ...asked, proof },
      "Certificate",
      { clock: ports.clock, signal },
    );
    const identity = readCertificateAnswer(message, {
      role: "node",
      keyPair: this.#keyPair,
      tokenId: "",
      nodeName,
      roots,
      refusedIssuers,
      nowMs: ports.clock.now(),
      exchange: { csr: this.#csr, answer: body },
    });
    this.#keyPairIsOurs = false;
    return identity;
  }

  /** The control plane's root, vouched for by one of the remembered pins. */
  async #fetchRoot(
    address: SocketAddress,
    ports: AgentPorts,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array> {
    const chain = await ports.transport.probe({
      ...address,
      ...this.#addresses.probing,
      alpn: ALPN,
      serverName: SERVER_NAME,
      signal,
    });
    const nowMs = ports.clock.now();
    let failure: unknown;
    for (const pin of this.#init.remembered.rootPins) {
      try {
        return findPinnedRoot(chain, { pin: fromHex(pin)!, nowMs });
      } catch (error) {
        failure ??= error;
      }
    }
    throw failure;
  }
}

/** What a node says that cannot come back by itself: once, with the one thing that helps. */
function identityLost(nodeName: string, reasons: readonly string[]): RksError {
  const why = reasons.length === 0 ? "there is no way back" : reasons.join("; ");
  return new RksError(
    "IDENTITY_LOST",
    `node "${nodeName}" has lost its key with the process that had it, and cannot come back by itself: ${why}`,
    {
      suggestion: `Run \`rks node rejoin ${nodeName}\` on the control plane and start again with the token that it prints.`,
    },
  );
}
