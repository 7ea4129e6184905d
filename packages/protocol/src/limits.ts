/**
 * Every bound of the protocol in one place, each with its reason. Both sides enforce them; a peer that exceeds
 * one gets a coded error and the connection goes on where that is safe.
 */
export const LIMITS = {
  /** A pod manifest with hundreds of environment variables is 50 KB; twenty times that is room enough. */
  maxMessageBytes: 1_048_576,
  /** A CSR is 300 bytes to 2 KB; nobody unproven gets to make us buffer more. */
  maxBootstrapMessageBytes: 16_384,
  /** Log data per raw frame; small enough that another stream's packets get their turn. */
  maxBytesFrame: 65_536,
  /** A DER CSR with an RSA-4096 key is 1.7 KB. */
  maxCsrBytes: 8_192,
  /** A Welcome nonce serves one CertificateSign; a signature and a round trip on a slow link take seconds. */
  nonceLifetimeMs: 10_000,
  /** Same key, same answer for this long: longer than any sane retry, shorter than a coffee break. */
  repeatAnswerMs: 600_000,
  /** A message that takes longer than this from first to last byte is given up. */
  requestTimeoutMs: 10_000,
  /** QUIC handshake including the address validation round trip, at 300 ms round-trip time and some loss. */
  handshakeTimeoutMs: 10_000,
  /** A silent peer is gone after this; two keep-alives in a row may be lost before. */
  idleTimeoutMs: 15_000,
  /** A third of the idle timeout. */
  keepAliveIntervalMs: 5_000,
  /** Streams a peer may have open at once on one connection: a hundred idle ones are cheap, thousands are an attack. */
  maxStreamsPerConnection: 64,
  /** A bootstrapping connection sends Hello and CertificateSign, and maybe each once more. */
  maxStreamsPerBootstrap: 4,
  /** A connection without a certificate is closed after this, whatever it does. */
  bootstrapLifetimeMs: 30_000,
  /** Between two heartbeats of a node: what it said an hour ago tells little. */
  maxHeartbeatIntervalSeconds: 3_600,
  /** Of silence before a node is NotReady; a day covers the slowest heartbeat many times. */
  maxHeartbeatGraceSeconds: 86_400,
  /** Pods that one node reports at registration; Kubernetes' own default is 110. */
  maxPodsPerNode: 250,
  /** A manifest as JSON; what the control plane adds to it must still fit into one message. */
  maxPodManifestBytes: 524_288,
  /** Pods or nodes in one answer; a cluster with more is listed page by page. */
  maxListItems: 1_000,
  /** A client's or server's nonce: no two are ever the same, and none can be guessed. */
  nonceBytes: 32,
} as const;
