export { createQuicTransport } from "./transport.js";
export type { QuicTransportPorts } from "./transport.js";
export { SOCKET_BUFFER_BYTES } from "./limits.js";
