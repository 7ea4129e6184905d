import type { Connection, Stream, Transport } from "@rk8s/protocol";

import { withDial } from "./with-dial.js";

/** A frame is a length (u32) and a kind (u8) before its JSON: where the name of a message begins. */
const NAME_OFFSET = 7;
const HEARTBEAT = Buffer.from("Heartbeat");

/** The transport, with the time of every heartbeat: from opening its stream to the first byte of the answer, in ms. */
export function timingHeartbeats(transport: Transport, onHeartbeat: (ms: number) => void): Transport {
  return withDial(transport, async (options) => timed(await transport.dial(options), onHeartbeat));
}

function timed(connection: Connection, onHeartbeat: (ms: number) => void): Connection {
  const openStream = connection.openStream.bind(connection);
  return Object.assign(connection, {
    async openStream(options?: { readonly signal?: AbortSignal | undefined }): Promise<Stream> {
      const begun = performance.now();
      const stream = await openStream(options);
      const [read, write] = [stream.read.bind(stream), stream.write.bind(stream)];
      let isHeartbeat = false;
      return Object.assign(stream, {
        async write(bytes: Uint8Array, how?: { readonly signal?: AbortSignal | undefined }): Promise<void> {
          isHeartbeat ||= HEARTBEAT.equals(bytes.subarray(NAME_OFFSET, NAME_OFFSET + HEARTBEAT.length));
          return write(bytes, how);
        },
        async read(how?: { readonly signal?: AbortSignal | undefined }): Promise<Uint8Array | undefined> {
          const answer = await read(how);
          if (isHeartbeat && answer !== undefined) {
            isHeartbeat = false;
            onHeartbeat(performance.now() - begun);
          }
          return answer;
        },
      });
    },
  });
}
