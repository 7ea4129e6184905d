import fc from "fast-check";
import { ERROR_CODES, MAX_WIRE_TEXT } from "../errors.js";
import { FRAME_KINDS, type Frame, type FrameKind } from "../frame.js";
import type { JoinToken } from "../join-token.js";
import type { Message, MessageType, RksMessage } from "../message.js";
import { Secret } from "../secret.js";
import {
  anyBytes,
  anyLabel,
  anyNodeStatus,
  anyPod,
  anyPodManifest,
  anyPodStatus,
  anyText,
  anyTimestamp,
  anyNode,
  type FieldArbitraries,
  objectOf,
} from "./object-arbitraries.js";

const version = fc.integer({ min: 1, max: 65_535 });
const nonce = anyBytes(32, 32);
const features = fc.array(anyText(1, 64), { maxLength: 4 });
const refusedIssuers = fc.array(anyBytes(32, 32), { maxLength: 3 });
const certificates = fc.array(anyBytes(1, 600), { minLength: 1, maxLength: 3 });
const trustGeneration = fc.nat();
const tokenId = fc.stringMatching(/^[0-9a-f]{16}$/);
const podKey = { namespace: anyLabel, name: anyLabel };
const podReport = { ...podKey, uid: anyText(1, 64), status: anyPodStatus };
const seconds = fc.integer({ min: 1, max: 3600 });
const cursor = anyText(1, 256);

const joinRequest: [FieldArbitraries, FieldArbitraries] = [
  { tokenId, role: fc.constantFrom("node", "operator"), csr: anyBytes(1, 2048), proof: anyBytes(64, 64) },
  { nodeName: anyText(1, 253) },
];

/** For every type of message, every message of it that a peer may send. Needs fast-check. */
export const arbitraryMessageOf: { readonly [T in MessageType]: fc.Arbitrary<Message<T>> } = {
  Hello: message("Hello", {
    versions: fc.array(version, { minLength: 1, maxLength: 16 }),
    features,
    nonce,
  }),
  Welcome: message("Welcome", {
    version,
    features,
    nonce,
    serverTime: anyTimestamp,
    limits: objectOf({ maxMessageBytes: fc.integer({ min: 1 }) }),
  }),
  Error: message(
    "Error",
    {
      code: fc.oneof(fc.constantFrom(...Object.keys(ERROR_CODES)), anyText(1, 64)),
      message: anyText(0, MAX_WIRE_TEXT),
      retryable: fc.boolean(),
    },
    { suggestion: anyText(0, MAX_WIRE_TEXT) },
  ),
  Ack: fc.constant({ type: "Ack" }),
  CertificateSign: message("CertificateSign", ...joinRequest),
  CheckJoin: message("CheckJoin", ...joinRequest),
  CertificateRenew: message("CertificateRenew", { csr: anyBytes(1, 2048), proof: anyBytes(1, 1024) }),
  EnrolRecovery: message("EnrolRecovery", {
    kind: fc.constantFrom("tpm", "ssh-host-key"),
    publicKey: anyBytes(1, 2048),
    proof: anyBytes(1, 4096),
  }),
  CertificateRecover: message("CertificateRecover", {
    nodeName: anyLabel,
    csr: anyBytes(1, 2048),
    kind: fc.constantFrom("tpm", "ssh-host-key", "grant"),
    sequence: fc.nat(),
    machineIdSha256: anyBytes(32, 32),
    proof: anyBytes(1, 4096),
  }),
  Certificate: message(
    "Certificate",
    {
      nodeName: anyText(0, 63),
      leaf: anyBytes(1, 600),
      chain: certificates,
      trustBundle: certificates,
      renewAfter: anyTimestamp,
      notAfter: anyTimestamp,
      serialNumber: anyText(1, 64),
    },
    { trustGeneration, refusedIssuers, recovery: objectOf({ sequence: fc.nat(), grantsLeft: fc.nat() }) },
  ),
  RegisterNode: message(
    "RegisterNode",
    {
      nodeName: anyLabel,
      version: anyText(1, 64),
      status: anyNodeStatus,
      pods: fc.array(objectOf(podReport), { maxLength: 3 }),
    },
    {
      trustGeneration,
      machineIdSha256: anyBytes(32, 32),
      instanceId: anyText(1, 64),
      survives: objectOf({ crash: anyText(1, 64), upgrade: anyText(1, 64) }),
      // JSON knows no minus zero: whoever sends one sends 0.
      clockSkewSeconds: fc.double({ min: -1e10, max: 1e10, noNaN: true }).map((skew) => skew + 0),
    },
  ),
  Registered: message(
    "Registered",
    { heartbeatIntervalSeconds: seconds, heartbeatGraceSeconds: seconds, serverTime: anyTimestamp },
    { certificateGeneration: fc.nat() },
  ),
  Heartbeat: message("Heartbeat", { status: anyNodeStatus }),
  RenewalRequired: message("RenewalRequired", { reason: anyText(0, 256) }),
  UpdatePodStatus: message("UpdatePodStatus", podReport),
  NodeStopping: message("NodeStopping", { reason: anyText(0, 256) }),
  TrustBundle: message(
    "TrustBundle",
    { generation: trustGeneration, bundle: certificates, renew: fc.boolean() },
    { refusedIssuers },
  ),
  CreatePod: message("CreatePod", { pod: anyPod }),
  DeletePod: message("DeletePod", podKey, {
    uid: anyText(1, 64),
    gracePeriodSeconds: fc.integer({ min: 0, max: 3600 }),
  }),
  GetPodLogs: message(
    "GetPodLogs",
    { ...podKey, follow: fc.boolean() },
    { container: anyLabel, tailLines: fc.integer({ min: 0, max: 1_000_000 }), resume: anyText(1, 64) },
  ),
  PodLogs: message("PodLogs", { container: anyLabel }),
  LogsMoved: message("LogsMoved", { resume: anyText(1, 64) }),
  ApplyPod: message("ApplyPod", { manifest: anyPodManifest }),
  GetPod: message("GetPod", podKey),
  Pod: message("Pod", { pod: anyPod }),
  ListPods: message("ListPods", {}, { namespace: anyLabel, after: cursor }),
  PodList: message("PodList", { pods: fc.array(anyPod, { maxLength: 3 }) }, { next: cursor }),
  GetNode: message("GetNode", { name: anyLabel }),
  Node: message("Node", { node: anyNode }),
  ListNodes: message("ListNodes", {}, { after: cursor }),
  NodeList: message("NodeList", { nodes: fc.array(anyNode, { maxLength: 3 }) }, { next: cursor }),
};

/** Any message of any type. */
export const arbitraryMessage: fc.Arbitrary<RksMessage> = fc.oneof(...Object.values(arbitraryMessageOf));

/** Any frame that a decoder takes. */
export const arbitraryFrame: fc.Arbitrary<Frame> = fc.record({
  kind: fc.constantFrom(...(Object.keys(FRAME_KINDS) as FrameKind[])),
  body: anyBytes(0, 3000),
});

/** Any join token. */
export const arbitraryJoinToken: fc.Arbitrary<JoinToken> = fc
  .record({ id: tokenId, seed: anyBytes(32, 32), rootSpkiSha256: anyBytes(32, 32) })
  .map(({ id, seed, rootSpkiSha256 }) => ({ id, seed: new Secret(seed), rootSpkiSha256 }));

/** A way to cut `bytes` into pieces, empty ones included, in order. */
export function arbitrarySplit(bytes: Uint8Array): fc.Arbitrary<Uint8Array[]> {
  return fc.array(fc.nat({ max: bytes.length }), { maxLength: 12 }).map((cuts) => {
    const at = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
    return at.slice(1).map((end, i) => bytes.slice(at[i], end));
  });
}

/** A message of required and optional fields. */
function message<T extends MessageType>(
  type: T,
  required: FieldArbitraries,
  optional: FieldArbitraries = {},
): fc.Arbitrary<Message<T>> {
  return objectOf<object>(required, optional).map((body) => ({ type, ...body }) as Message<T>);
}
