import type { Connection, Message, MessageStream, MessageType, RksMessage } from "@rk8s/protocol";
import type { Enrolment } from "../join/enrolment.js";
import type { NodeAdoption } from "../nodes/adoption.js";
import type { NodeRegistry } from "../nodes/node-registry.js";
import type { LogRelay } from "../pods/log-relay.js";
import type { PodController } from "../pods/pod-controller.js";
import type { Trust } from "../trust/trust.js";
import type { Clock, Logger } from "@rk8s/protocol";
import type { Recovery } from "../recovery/recovery.js";
import type { RecoveryEnrolment } from "../recovery/recovery-enrolment.js";
import type { Promotion } from "../renewal/promotion.js";
import type { Renewal } from "../renewal/renewal.js";
import type { AuditLog } from "../audit/audit-log.js";
import type { Authority } from "./authority.js";
import type { Greetings } from "./greeting.js";
import type { ClusterMeter } from "./cluster-meter.js";
import type { NodeSession } from "./node-session.js";

/**
 * Who sends a message. `nobody`: a connection without a certificate; `bootstrapping`: the same after Hello;
 * `node`: proven by its certificate; `registered node`: the same after RegisterNode; `operator`: proven by
 * certificate, or on the unix socket.
 */
export type CallerKind = "nobody" | "bootstrapping" | "node" | "registered node" | "operator";

/** What handlers work with. */
export interface Services {
  readonly enrolment: Enrolment;
  readonly renewal: Renewal;
  readonly promotion: Promotion;
  readonly recovery: Recovery;
  readonly recoveryEnrolment: RecoveryEnrolment;
  readonly adoption: NodeAdoption;
  readonly nodes: NodeRegistry;
  readonly pods: PodController;
  readonly trust: Trust;
  readonly logs: LogRelay;
  readonly audit: AuditLog;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly meter: ClusterMeter;
  readonly random: (bytes: number) => Uint8Array;
  readonly heartbeatIntervalSeconds: number;
  readonly heartbeatGraceSeconds: number;
}

/** One end of a conversation: a connection with its identity, or one request on the unix socket. */
export interface Conversation {
  /** As it is now; it rises with Hello and RegisterNode. */
  readonly kind: CallerKind;
  /** Whether a Hello was answered; always, on the socket. */
  readonly isGreeted: boolean;
  /** For audit and log: `node worker-1`, `operator 0123456789abcdef`, `operator (socket)`. */
  readonly actor: string;
  /** Of an operator, and of nobody else. */
  readonly authority: Authority | undefined;
  /** Undefined over HTTP. */
  readonly connection: Connection | undefined;
  readonly greetings: Greetings;
  /** Of a node. */
  readonly session: NodeSession | undefined;
  /** The node has registered over this connection. */
  registered(): void;
}

/** One message, and what is needed to answer it. */
export interface Exchange<T extends MessageType> {
  readonly message: Message<T>;
  /** The message's body as it was on the wire. */
  readonly body: Uint8Array;
  readonly conversation: Conversation;
  /** For answers of more than one message. */
  readonly stream: MessageStream;
  /** Largest message that this peer may send. */
  readonly maxMessageBytes: number;
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
  /** Do this once the answer is out. */
  afterAnswer(work: () => void): void;
}

/**
 * Answers one kind of message; undefined when it has sent its answer itself.
 * @throws {RksError} what is sent as `Error` instead.
 */
export type Handler<T extends MessageType> = (
  services: Services,
  exchange: Exchange<T>,
) => Promise<RksMessage | undefined> | RksMessage;
