export { aborted } from "./aborted.js";
export { decodeBase64Url, encodeBase64Url } from "./base64url.js";
export { Bell } from "./bell.js";
export { concatBytes, equalBytes, fromHex, fromUtf8, hex, utf8 } from "./bytes.js";
export type { Clock, SleepOptions } from "./clock.js";
export { CLOSE_CODES, closeError } from "./close-codes.js";
export type { CloseCode } from "./close-codes.js";
export { decodeMessage, encodeMessage } from "./codec.js";
export { settledWithin, withDeadline } from "./deadline.js";
export type { DeadlineOptions } from "./deadline.js";
export { formatDuration, parseDuration } from "./duration.js";
export { ERROR_CODES, isErrorCode, RksError } from "./errors.js";
export type { ErrorCode, ErrorInfo, RksErrorOptions, WireError } from "./errors.js";
export { encodeFrame, FRAME_KINDS, FrameDecoder } from "./frame.js";
export type { Frame, FrameKind } from "./frame.js";
export { formatJoinToken, parseJoinToken } from "./join-token.js";
export type { JoinToken } from "./join-token.js";
export { LIMITS } from "./limits.js";
export { ListPage } from "./list-page.js";
export { LinkedAbort } from "./linked-abort.js";
export { silentLogger } from "./logger.js";
export type { LogFields, Logger } from "./logger.js";
export { MESSAGE_SCHEMAS } from "./message.js";
export type { Message, MessageBody, MessageType, RksMessage } from "./message.js";
export { FRAMES_MEDIA_TYPE, MESSAGES_PATH } from "./messages-endpoint.js";
export { MessageStream } from "./message-stream.js";
export type { Received } from "./message-stream.js";
export { nearestWord } from "./nearest-word.js";
export { assertNodeName } from "./node.js";
export type { Node, NodeCondition, NodeStatus } from "./node.js";
export { openStreamInTime } from "./open-stream.js";
export { container, pod, podManifest, podSpec, podStatus } from "./pod.js";
export type {
  Container,
  ContainerState,
  ContainerStatus,
  Pod,
  PodManifest,
  PodSpec,
  PodStatus,
} from "./pod.js";
export { assertAnswer, request } from "./request.js";
export type { Answer, RequestOptions, StreamOpener } from "./request.js";
export { Secret } from "./secret.js";
export {
  enrolRecoveryTranscript,
  joinProofTranscript,
  loginProofTranscript,
  recoverProofTranscript,
  renewProofTranscript,
} from "./transcript.js";
export type { JoinProofFields, RecoverProofFields } from "./transcript.js";
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
export { ALPN, negotiateVersion, PROTOCOL_VERSIONS, SERVER_NAME } from "./version.js";
