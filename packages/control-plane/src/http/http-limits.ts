/** Every bound of the HTTP listeners in one place, each with its reason. */
export const HTTP_LIMITS = {
  /** What Vault takes by default; a bundle of a thousand certificates is 2 MB. */
  maxBodyBytes: 33_554_432,
  /** The largest request to the cluster's own API is a join token's scope; a hundred times that is room enough. */
  maxClusterBodyBytes: 65_536,
  /** RFC 6960 requests are 100 bytes for each certificate asked about. */
  maxOcspRequestBytes: 65_536,
  /** Arrays in objects in arrays: policies and roles need four. Whoever walks a document may do so recursively. */
  maxJsonDepth: 64,
  /** Members and elements of one document; a role has fifty, an import of a thousand certificates is one text. */
  maxJsonValues: 100_000,
  /** Names in a query; filters of a list are a dozen. */
  maxQueryValues: 256,
  /** Tokens are 100 characters, JWTs two kilobytes. */
  maxHeaderBytes: 16_384,
  maxHeaders: 100,
  /** From a connection's or request's first moment to the end of its header. */
  headersTimeoutMs: 10_000,
  /** From a request's first byte to its last: 32 MiB at 4.5 Mbit/s. Answers may take longer: logs are followed. */
  requestTimeoutMs: 60_000,
  /** TCP to TLS; a client that is slower is not one. */
  handshakeTimeoutMs: 10_000,
  /** Between two requests of one connection: longer than clients' own pools keep them, so that they close first. */
  keepAliveTimeoutMs: 75_000,
  /** Nothing read and nothing written, an answer being made included: an RSA-4096 key can take 20 s on a busy host. */
  idleTimeoutMs: 120_000,
  /** How often the deadlines above are looked at. */
  deadlineCheckMs: 2_000,
  /** Operators and their scripts; each open connection costs a file descriptor. */
  maxSocketConnections: 256,
  /** Each costs 40 KB with TLS. */
  maxHttpsConnections: 2_048,
  /** Of those, from one address: a quarter, so that one client cannot shut out all others. */
  maxConnectionsPerAddress: 512,
} as const;

/** The same, some of it otherwise: tests have no ten seconds. */
export type HttpLimits = { readonly [Name in keyof typeof HTTP_LIMITS]: number };
