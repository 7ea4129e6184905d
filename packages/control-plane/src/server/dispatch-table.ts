import type { Message, MessageType } from "@rk8s/protocol";
import type { Asks } from "./authority.js";
import { answerCertificateSign, answerCheckJoin, answerHello } from "./bootstrap-handlers.js";
import type { CallerKind, Handler } from "./exchange.js";
import {
  answerCertificateRenew,
  answerHeartbeat,
  answerNodeStopping,
  answerRegisterNode,
  answerUpdatePodStatus,
} from "./node-handlers.js";
import { answerCertificateRecover, answerEnrolRecovery } from "./recovery-handlers.js";
import {
  answerApplyPod,
  answerDeletePod,
  answerGetNode,
  answerGetPod,
  answerGetPodLogs,
  answerListNodes,
  answerListPods,
} from "./operator-handlers.js";

/** What the policies of an operator are asked about a message. */
interface MessageAsks<T extends MessageType> extends Asks {
  /** What stands in the place of the pattern's parameters. Default: the message's own fields. */
  readonly of?: (message: Message<T>) => Readonly<Record<string, unknown>>;
}

/** Who may send a message to the control plane, and what answers it. What operators may send asks their policies. */
export type Rule<T extends MessageType> =
  | {
      readonly who: readonly [CallerKind, ...CallerKind[]];
      readonly handle: Handler<T>;
      readonly asks?: MessageAsks<T>;
    }
  | { readonly who: readonly []; readonly handle?: never; readonly asks?: never };

const OPERATOR = ["operator"] as const;
const POD = "rk8s/pods/:namespace/:name";
/** Only the control plane sends it, or nobody does yet. */
const NOBODY = { who: [] } as const;

/**
 * Every message with who may send it to the control plane and the function that answers it. What is not allowed
 * here is refused; a handler that is about one node acts on the node of the certificate and on no other.
 */
export const DISPATCH_TABLE: { readonly [T in MessageType]: Rule<T> } = {
  Hello: { who: ["nobody", "bootstrapping", "node", "registered node", "operator"], handle: answerHello },
  Welcome: NOBODY,
  Error: NOBODY,
  Ack: NOBODY,

  CertificateSign: { who: ["bootstrapping"], handle: answerCertificateSign },
  CheckJoin: { who: ["bootstrapping"], handle: answerCheckJoin },
  CertificateRenew: { who: ["registered node"], handle: answerCertificateRenew },
  EnrolRecovery: { who: ["registered node"], handle: answerEnrolRecovery },
  CertificateRecover: { who: ["bootstrapping"], handle: answerCertificateRecover },
  Certificate: NOBODY,

  RegisterNode: { who: ["node", "registered node"], handle: answerRegisterNode },
  Registered: NOBODY,
  Heartbeat: { who: ["registered node"], handle: answerHeartbeat },
  RenewalRequired: NOBODY,
  UpdatePodStatus: { who: ["registered node"], handle: answerUpdatePodStatus },
  NodeStopping: { who: ["registered node"], handle: answerNodeStopping },

  TrustBundle: NOBODY,
  CreatePod: NOBODY,
  DeletePod: { who: OPERATOR, asks: { operation: "delete", pattern: POD }, handle: answerDeletePod },
  GetPodLogs: {
    who: OPERATOR,
    asks: { operation: "read", pattern: `${POD}/logs` },
    handle: answerGetPodLogs,
  },
  PodLogs: NOBODY,
  LogsMoved: NOBODY,

  ApplyPod: {
    who: OPERATOR,
    asks: { operation: "update", pattern: POD, of: ({ manifest }) => manifest.metadata },
    handle: answerApplyPod,
  },
  GetPod: { who: OPERATOR, asks: { operation: "read", pattern: POD }, handle: answerGetPod },
  Pod: NOBODY,
  ListPods: {
    who: OPERATOR,
    asks: { operation: "list", pattern: "rk8s/pods/:namespace?" },
    handle: answerListPods,
  },
  PodList: NOBODY,
  GetNode: { who: OPERATOR, asks: { operation: "read", pattern: "rk8s/nodes/:name" }, handle: answerGetNode },
  Node: NOBODY,
  ListNodes: { who: OPERATOR, asks: { operation: "list", pattern: "rk8s/nodes" }, handle: answerListNodes },
  NodeList: NOBODY,
};
