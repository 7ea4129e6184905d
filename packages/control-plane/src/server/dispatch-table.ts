import type { MessageType } from "@rk8s/protocol";
import { answerCertificateSign, answerCheckJoin, answerHello } from "./bootstrap-handlers.js";
import type { CallerKind, Handler } from "./exchange.js";
import {
  answerCertificateRenew,
  answerHeartbeat,
  answerNodeStopping,
  answerRegisterNode,
  answerUpdatePodStatus,
} from "./node-handlers.js";
import {
  answerApplyPod,
  answerDeletePod,
  answerGetNode,
  answerGetPod,
  answerGetPodLogs,
  answerListNodes,
  answerListPods,
} from "./operator-handlers.js";

/** Who may send a message to the control plane, and what answers it. */
export type Rule<T extends MessageType> =
  | { readonly who: readonly [CallerKind, ...CallerKind[]]; readonly handle: Handler<T> }
  | { readonly who: readonly []; readonly handle?: never };

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
  // Answered once control-plane/src/recovery serves them.
  EnrolRecovery: NOBODY,
  CertificateRecover: NOBODY,
  Certificate: NOBODY,

  RegisterNode: { who: ["node", "registered node"], handle: answerRegisterNode },
  Registered: NOBODY,
  Heartbeat: { who: ["registered node"], handle: answerHeartbeat },
  RenewalRequired: NOBODY,
  UpdatePodStatus: { who: ["registered node"], handle: answerUpdatePodStatus },
  NodeStopping: { who: ["registered node"], handle: answerNodeStopping },

  TrustBundle: NOBODY,
  CreatePod: NOBODY,
  DeletePod: { who: ["operator"], handle: answerDeletePod },
  GetPodLogs: { who: ["operator"], handle: answerGetPodLogs },
  PodLogs: NOBODY,
  LogsMoved: NOBODY,

  ApplyPod: { who: ["operator"], handle: answerApplyPod },
  GetPod: { who: ["operator"], handle: answerGetPod },
  Pod: NOBODY,
  ListPods: { who: ["operator"], handle: answerListPods },
  PodList: NOBODY,
  GetNode: { who: ["operator"], handle: answerGetNode },
  Node: NOBODY,
  ListNodes: { who: ["operator"], handle: answerListNodes },
  NodeList: NOBODY,
};
