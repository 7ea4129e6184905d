import { z } from "zod";
import { MAX_WIRE_TEXT } from "./errors.js";
import { LIMITS } from "./limits.js";
import { node, nodeStatus } from "./node.js";
import { pod, podManifest, podStatus } from "./pod.js";
import { bytes, label, list, text, timestamp } from "./schema.js";

const nonce = bytes({ min: LIMITS.nonceBytes, max: LIMITS.nonceBytes });
const features = list(text(64), 32);
const certificate = bytes({ min: 1, max: 16_384 });
/** A clock at 1970 or at 2300 must be able to say so. */
const MAX_SKEW_SECONDS = 10_000_000_000;
/** Counts how often the roots of the cluster, or the one that signs, have changed. */
const trustGeneration = z.number().int().min(0);
/** SHA-256 of a SubjectPublicKeyInfo each: intermediates whose signatures do not count. */
const refusedIssuers = list(bytes({ min: 32, max: 32 }), 16);
const ed25519Signature = bytes({ min: 64, max: 64 });
/** By a key that survives a reboot: DER (ECDSA), or an SSH signature in its binary form. */
const recoveryProof = bytes({ min: 1, max: 4096 });
const sha256 = bytes({ min: 32, max: 32 });
/** How often a node was brought back; the next recovery must name it. */
const sequence = z.number().int().min(0);
/** Where a list goes on; only its sender knows what it means. */
const cursor = text(256);
/** A request for a certificate with the proof of a join token. */
const joinRequest = {
  tokenId: z.string().regex(/^[0-9a-f]{16}$/, "expected 16 hexadecimal digits"),
  role: z.enum(["node", "operator"]),
  /** DER (RFC 2986). */
  csr: bytes({ min: 1, max: LIMITS.maxCsrBytes }),
  nodeName: z.string().min(1).max(253).optional(),
  /** Ed25519 over the join transcript; see transcript.ts. */
  proof: ed25519Signature,
};
const podKey = { namespace: label, name: label };

/**
 * Every message of the protocol with its body's schema; the TypeScript types come from here. On the wire a
 * message is externally tagged JSON: `{"Heartbeat":{…}}`, and just `"Ack"` where there is no body. SPEC.md says the
 * same for readers who write another implementation.
 */
export const MESSAGE_SCHEMAS = {
  // — every connection

  /** Anyone → rks, first on every connection. Answered by `Welcome`, or `Error` VERSION_UNSUPPORTED. */
  Hello: z.object({ versions: list(z.number().int().min(1).max(65_535), 16, 1), features, nonce }),

  /** rks → the sender of `Hello`. Says nothing about the cluster: nobody has proven anything yet. */
  Welcome: z.object({
    version: z.number().int().min(1).max(65_535),
    features,
    nonce,
    serverTime: timestamp,
    limits: z.object({ maxMessageBytes: z.number().int().min(1) }),
  }),

  /** Either side, instead of any answer. */
  Error: z.object({
    code: text(64),
    message: z.string().max(MAX_WIRE_TEXT),
    suggestion: z.string().max(MAX_WIRE_TEXT).optional(),
    retryable: z.boolean(),
  }),

  /** Either side: done, nothing to say. */
  Ack: z.undefined(),

  // — joining

  /** Bootstrapping agent → rks, once a `Welcome`. Answered by `Certificate` or `Error`. */
  CertificateSign: z.object(joinRequest),

  /**
   * Bootstrapping agent → rks: would `CertificateSign` with the same body be granted now? Answered by `Ack`, or by the
   * `Error` that it would get. Nothing is issued or used up.
   */
  CheckJoin: z.object(joinRequest),

  /** Node → rks inside its session: a certificate for a new key. Answered by `Certificate` or `Error`. */
  CertificateRenew: z.object({
    csr: bytes({ min: 1, max: LIMITS.maxCsrBytes }),
    /** By the new key over the renew transcript; DER (ECDSA) or raw (Ed25519). */
    proof: bytes({ min: 1, max: 1024 }),
  }),

  /** Node → rks: the key by which this host proves who it is after a reboot. Answered by `Ack` or `Error`. */
  EnrolRecovery: z.object({
    kind: z.enum(["tpm", "ssh-host-key"]),
    /** `tpm`: SubjectPublicKeyInfo (DER); `ssh-host-key`: the SSH public key blob (RFC 4253 §6.6). */
    publicKey: bytes({ min: 1, max: 2048 }),
    /** By that key over the enrol-recovery transcript. */
    proof: recoveryProof,
  }),

  /** Bootstrapping agent → rks: a node whose key was lost with a reboot. Answered by `Certificate` or `Error`. */
  CertificateRecover: z.object({
    nodeName: label,
    csr: bytes({ min: 1, max: LIMITS.maxCsrBytes }),
    kind: z.enum(["tpm", "ssh-host-key", "grant"]),
    /** As the last `Certificate` said it. */
    sequence,
    machineIdSha256: sha256,
    /** By the enrolled key over the recover transcript; with `grant` by the new key, as in `CertificateRenew`. */
    proof: recoveryProof,
  }),

  /** rks → agent. */
  Certificate: z.object({
    /** The name that the server gave; empty for an operator. */
    nodeName: z.string().max(63),
    /** DER. */
    leaf: certificate,
    /** DER, issuers of the leaf up to the root. */
    chain: list(certificate, 8, 1),
    /** DER, every root to trust from now on. */
    trustBundle: list(certificate, 8, 1),
    /** Two thirds of the lifetime. */
    renewAfter: timestamp,
    notAfter: timestamp,
    serialNumber: text(64),
    /** Generation of `trustBundle`; see TrustBundle. */
    trustGeneration: trustGeneration.optional(),
    /** Belongs to `trustBundle`; see TrustBundle. */
    refusedIssuers: refusedIssuers.optional(),
    /** Of a node: what its next recovery has to name, and how many its grant still allows. */
    recovery: z.object({ sequence, grantsLeft: z.number().int().min(0) }).optional(),
  }),

  // — a node's session

  /** Node → rks, once a connection, before any other message of a node. Answered by `Registered`. */
  RegisterNode: z.object({
    nodeName: label,
    version: text(64),
    status: nodeStatus,
    /**
     * Random, one for each holder of the node's identity: it stays the same when the agent's process is started
     * again. Tells two processes with one identity apart.
     */
    instanceId: text(64).optional(),
    /** By how much the node's clock is ahead of rks', behind it when negative, as the greeting on this connection showed. */
    clockSkewSeconds: z.number().min(-MAX_SKEW_SECONDS).max(MAX_SKEW_SECONDS).optional(),
    /** What runs here already, from before a restart of either side. */
    pods: list(z.object({ ...podKey, uid: text(64), status: podStatus }), LIMITS.maxPodsPerNode),
    /** Generation of the roots that the agent trusts now. */
    trustGeneration: trustGeneration.optional(),
    /** A hash of the machine's id that only recovery uses; see SPEC.md §20. */
    machineIdSha256: sha256.optional(),
    /** What keeps the node's identity when its process dies or its program is replaced; "no" where nothing does. */
    survives: z.object({ crash: text(64), upgrade: text(64) }).optional(),
  }),

  /** rks → node. `CreatePod` and `DeletePod` follow for what the node should and should not run. */
  Registered: z.object({
    heartbeatIntervalSeconds: z.number().min(0.1).max(LIMITS.maxHeartbeatIntervalSeconds),
    heartbeatGraceSeconds: z.number().min(0.1).max(LIMITS.maxHeartbeatGraceSeconds),
    serverTime: timestamp,
    /** Of the certificate that the node is connected with: 0 at its first join, one more with each that took its place. */
    certificateGeneration: z.number().int().min(0).optional(),
  }),

  /** Node → rks every heartbeat interval. Answered by `Ack`. */
  Heartbeat: z.object({ status: nodeStatus }),

  /** rks → node: renew the certificate now. Answered by `Ack` when the node has taken note of it. */
  RenewalRequired: z.object({ reason: z.string().max(256) }),

  /** Node → rks when a pod's status changed. Answered by `Ack`; also when the pod is gone. */
  UpdatePodStatus: z.object({ ...podKey, uid: text(64), status: podStatus }),

  /** Node → rks: the agent ends on purpose and leaves its pods running. Answered by `Ack`. */
  NodeStopping: z.object({ reason: z.string().max(256) }),

  /**
   * rks → node: trust these roots from now on, and no others. Answered by `Ack`: the node has them. A generation that is
   * not newer than the node's changes nothing and is acknowledged too.
   */
  TrustBundle: z.object({
    generation: trustGeneration,
    /** DER. */
    bundle: list(certificate, 8, 1),
    /** Renew at once: the node's certificate is of a root that is going away. */
    renew: z.boolean(),
    /** What leads to one of these roots through one of these is not trusted; default: nothing is refused. */
    refusedIssuers: refusedIssuers.optional(),
  }),

  /** rks → node: run this. Answered by `Ack`; doing it twice is the same as once. Operators send `ApplyPod`. */
  CreatePod: z.object({ pod }),

  /**
   * rks → node: stop and forget; answered by `Ack` when the pod is gone, also when it was never there.
   * Operator → rks: the same for the cluster; answered by `Ack` when the deletion is recorded.
   */
  DeletePod: z.object({
    ...podKey,
    /** When given, only a pod with this uid is meant. */
    uid: text(64).optional(),
    gracePeriodSeconds: z.number().int().min(0).max(3600).optional(),
  }),

  /**
   * Operator → rks, relayed rks → node. Answered by `PodLogs` and then frames of raw bytes until the end of the
   * stream; an `Error` or `LogsMoved` may come instead of any of them.
   */
  GetPodLogs: z.object({
    ...podKey,
    container: label.optional(),
    follow: z.boolean(),
    /** Only the last lines; all when absent. */
    tailLines: z.number().int().min(0).max(1_000_000).optional(),
    /** rks → node: go on where the answer stopped that ended with this `LogsMoved`. */
    resume: text(64).optional(),
  }),
  PodLogs: z.object({ container: label }),

  /**
   * Node → rks, last of an answer to `GetPodLogs`: this connection is being replaced. The rest comes when the node is
   * asked with `resume` over the connection on which it registered last, within a minute.
   */
  LogsMoved: z.object({ resume: text(64) }),

  // — operators

  /** Operator → rks. Answered by `Pod`; the same manifest again changes nothing, another one is ALREADY_EXISTS. */
  ApplyPod: z.object({ manifest: podManifest }),
  /** Operator → rks. Answered by `Pod`. */
  GetPod: z.object(podKey),
  Pod: z.object({ pod }),
  /** Operator → rks; all namespaces when none is named. Answered by `PodList`. */
  ListPods: z.object({ namespace: label.optional(), after: cursor.optional() }),
  /** As many as fit into one message; with `next` there are more: ask again with it as `after`. */
  PodList: z.object({ pods: list(pod, LIMITS.maxListItems), next: cursor.optional() }),
  /** Operator → rks. Answered by `Node`. */
  GetNode: z.object({ name: label }),
  Node: z.object({ node }),
  /** Operator → rks. Answered by `NodeList`. */
  ListNodes: z.object({ after: cursor.optional() }),
  /** As many as fit into one message; with `next` there are more: ask again with it as `after`. */
  NodeList: z.object({ nodes: list(node, LIMITS.maxListItems), next: cursor.optional() }),
} as const;

export type MessageType = keyof typeof MESSAGE_SCHEMAS;

/** The body of one kind of message. */
export type MessageBody<T extends MessageType> = (typeof MESSAGE_SCHEMAS)[T] extends z.ZodUndefined
  ? unknown
  : z.output<(typeof MESSAGE_SCHEMAS)[T]>;

/** A message of one type: its tag and its body's fields side by side. */
export type Message<T extends MessageType> = { readonly type: T } & MessageBody<T>;

/** Any message, discriminated by `type`. */
export type RksMessage = { [T in MessageType]: Message<T> }[MessageType];
