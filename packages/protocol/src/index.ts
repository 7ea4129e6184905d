export type { Clock } from "./clock.js";
export { ERROR_CODES, isErrorCode, RksError } from "./errors.js";
export type { ErrorCode, ErrorInfo, RksErrorOptions, WireError } from "./errors.js";
export { silentLogger } from "./logger.js";
export type { LogFields, Logger } from "./logger.js";
export { Secret } from "./secret.js";
export type {
  CloseOptions,
  Connection,
  ConnectionEnd,
  ConnectionLimits,
  Credentials,
  DialOptions,
  Listener,
  ListenOptions,
  ProbeOptions,
  ServerConfig,
  SocketAddress,
  Stream,
  Transport,
} from "./transport.js";
