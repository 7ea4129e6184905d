import type { Socket } from "node:net";

/** What Node's parser refuses, and what it is answered with; everything else is 400. */
const REFUSALS: Readonly<Record<string, readonly [status: string, text: string]>> = {
  HPE_HEADER_OVERFLOW: ["431 Request Header Fields Too Large", "the request's header is too large"],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: ["413 Payload Too Large", "the request's chunks have too many extensions"],
  ERR_HTTP_REQUEST_TIMEOUT: ["408 Request Timeout", "the request did not arrive in time"],
};
const OTHER = ["400 Bad Request", "this is no HTTP request"] as const;

/**
 * Answer a connection whose bytes are no request, as far as it still listens, and end it. Errors of TLS come here as
 * well: before the handshake is done nothing can be said.
 */
export function refuseClient(error: Error, socket: Socket): void {
  const code = "code" in error ? String(error.code) : "";
  const isOfHttp = code.startsWith("HPE_") || Object.hasOwn(REFUSALS, code);
  if (!isOfHttp || !socket.writable) {
    socket.destroy();
    return;
  }
  const [status, text] = REFUSALS[code] ?? OTHER;
  const body = JSON.stringify({ errors: [text] });
  const head = [
    `HTTP/1.1 ${status}`,
    "content-type: application/json",
    "cache-control: no-store",
    `content-length: ${body.length}`,
    "connection: close",
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`, () => socket.destroy());
}
