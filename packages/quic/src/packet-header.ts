/** Length of the connection ids that this package chooses; the longest that RFC 9000 §17.2 allows. */
export const CONNECTION_ID_BYTES = 20;

/** RFC 9000 §14.1: datagrams with a client's Initial packet are at least this long. */
export const MIN_INITIAL_DATAGRAM_BYTES = 1200;

/** A packet of an established connection: the id that we chose is all there is to see (RFC 9000 §17.3). */
interface ShortHeader {
  readonly form: "short";
  readonly dcid: Uint8Array;
}

/** A packet of a handshake (RFC 9000 §17.2). `token` is set for an Initial packet of version 1. */
export interface LongHeader {
  readonly form: "long";
  readonly type: "initial" | "zero-rtt" | "handshake" | "retry" | "version-negotiation" | "unknown-version";
  readonly version: number;
  readonly dcid: Uint8Array;
  readonly scid: Uint8Array;
  readonly token: Uint8Array | undefined;
}

export type PacketHeader = ShortHeader | LongHeader;

const LONG_FORM = 0x80;
const QUIC_V1 = 1;
const LONG_TYPES = ["initial", "zero-rtt", "handshake", "retry"] as const;
/** RFC 8999 §5.1 lets connection ids of other versions be up to 255 bytes long; no more than that is copied. */
const EMPTY = new Uint8Array(0);

/**
 * Read the part of a datagram's first packet that is not encrypted, which decides where the datagram goes.
 * The arrays of the result share the datagram's memory.
 * @returns undefined for anything that is not the start of a QUIC packet. Never throws.
 */
export function parsePacketHeader(datagram: Uint8Array): PacketHeader | undefined {
  const first = datagram[0];
  if (first === undefined) return undefined;
  if ((first & LONG_FORM) === 0) {
    if (datagram.length <= CONNECTION_ID_BYTES) return undefined;
    return { form: "short", dcid: datagram.subarray(1, 1 + CONNECTION_ID_BYTES) };
  }
  return parseLongHeader(datagram, first);
}

function parseLongHeader(datagram: Uint8Array, first: number): LongHeader | undefined {
  if (datagram.length < 7) return undefined;
  const version = new DataView(datagram.buffer, datagram.byteOffset).getUint32(1);
  const dcidEnd = 6 + (datagram[5] ?? 0);
  const scidLength = datagram[dcidEnd];
  if (scidLength === undefined) return undefined;
  const scidEnd = dcidEnd + 1 + scidLength;
  if (scidEnd > datagram.length) return undefined;
  const dcid = datagram.subarray(6, dcidEnd);
  const scid = datagram.subarray(dcidEnd + 1, scidEnd);
  if (version === 0)
    return { form: "long", type: "version-negotiation", version, dcid, scid, token: undefined };
  if (version !== QUIC_V1)
    return { form: "long", type: "unknown-version", version, dcid, scid, token: undefined };
  if (dcid.length > CONNECTION_ID_BYTES || scid.length > CONNECTION_ID_BYTES) return undefined;
  const type = LONG_TYPES[(first >> 4) & 3] ?? "initial";
  if (type !== "initial") return { form: "long", type, version, dcid, scid, token: undefined };
  const token = parseToken(datagram, scidEnd);
  return token === undefined ? undefined : { form: "long", type, version, dcid, scid, token };
}

/** RFC 9000 §17.2.2: the token's length is a variable-length integer (§16). */
function parseToken(datagram: Uint8Array, position: number): Uint8Array | undefined {
  const first = datagram[position];
  if (first === undefined) return undefined;
  const lengthBytes = 1 << (first >> 6);
  if (lengthBytes > 2) return undefined; // 16 KiB and more do not fit a datagram
  const second = datagram[position + 1];
  let length = first & 0x3f;
  if (lengthBytes === 2) {
    if (second === undefined) return undefined;
    length = (length << 8) | second;
  }
  if (length === 0) return EMPTY;
  const start = position + lengthBytes;
  return start + length > datagram.length ? undefined : datagram.subarray(start, start + length);
}
