export { HttpStream, serverStream } from "./http-stream.js";
export type { HttpStreamInit } from "./http-stream.js";
export { createLogger } from "./log.js";
export type { LogFormat, LogInit, LogLevel } from "./log.js";
export { printable } from "./printable.js";
export { systemClock } from "./system-clock.js";
export { assertSocketPath, listenOnUnixSocket, socketAnswers } from "./unix-socket.js";
export type { ListenOptions } from "./unix-socket.js";
