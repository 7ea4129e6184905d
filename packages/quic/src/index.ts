export { createQuicTransport } from "./transport.js";
export type { QuicTransportPorts } from "./transport.js";
