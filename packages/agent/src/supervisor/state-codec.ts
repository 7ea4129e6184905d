import type { StashedIdentity, StashedKey } from "../identity/identity-stash.js";

/** What each field of a state is called in bytes. Numbers are never used again for something else. */
const FIELDS = {
  instanceId: 1,
  rksAddress: 2,
  nodeName: 3,
  trustGeneration: 4,
  root: 5,
  joinToken: 6,
  current: 7,
  pending: 8,
  pkcs8: 9,
  csr: 10,
  answer: 11,
  refusedIssuer: 12,
} as const;

type Field = readonly [tag: number, value: Uint8Array];
const FIELD_HEAD_BYTES = 5;

/**
 * A state as bytes: fields, each as `u8 tag | u32be length | value`; keys are fields within a field. Secrets go from
 * bytes to bytes and are never text. The caller overwrites the result.
 */
export function encodeState(state: StashedIdentity): Uint8Array {
  const { instanceId, rksAddress, nodeName, trust, joinToken, current, pending } = state;
  const keys = [
    ...field(FIELDS.current, current && encodeKey(current)),
    ...field(FIELDS.pending, pending && encodeKey(pending)),
  ];
  try {
    return encodeFields([
      [FIELDS.instanceId, Buffer.from(instanceId)],
      [FIELDS.rksAddress, Buffer.from(rksAddress)],
      ...field(FIELDS.nodeName, nodeName === undefined ? undefined : Buffer.from(nodeName)),
      [FIELDS.trustGeneration, Buffer.from(String(trust.generation))],
      ...trust.roots.map((root): Field => [FIELDS.root, root]),
      ...(trust.refusedIssuers ?? []).map((key): Field => [FIELDS.refusedIssuer, key]),
      ...field(FIELDS.joinToken, joinToken),
      ...keys,
    ]);
  } finally {
    for (const [, bytes] of keys) bytes.fill(0);
  }
}

/**
 * Read a state; fields that this version does not know are skipped. Undefined for what is no state. The state has
 * memory of its own.
 */
export function decodeState(bytes: Uint8Array): StashedIdentity | undefined {
  const fields = decodeFields(bytes);
  const instanceId = find(fields, FIELDS.instanceId);
  const rksAddress = find(fields, FIELDS.rksAddress);
  const generation = Number(textOf(find(fields, FIELDS.trustGeneration)) ?? Number.NaN);
  if (instanceId === undefined || rksAddress === undefined || !Number.isSafeInteger(generation)) {
    return undefined;
  }
  const refusedIssuers = findAll(fields, FIELDS.refusedIssuer);
  return {
    instanceId: textOf(instanceId)!,
    rksAddress: textOf(rksAddress)!,
    nodeName: textOf(find(fields, FIELDS.nodeName)),
    trust: {
      generation,
      roots: findAll(fields, FIELDS.root),
      ...(refusedIssuers.length === 0 ? {} : { refusedIssuers }),
    },
    joinToken: copy(find(fields, FIELDS.joinToken)),
    current: decodeKey(find(fields, FIELDS.current)),
    pending: decodeKey(find(fields, FIELDS.pending)),
  };
}

function encodeKey({ pkcs8, csr, answer }: StashedKey): Uint8Array {
  return encodeFields([[FIELDS.pkcs8, pkcs8], [FIELDS.csr, csr], ...field(FIELDS.answer, answer)]);
}

function decodeKey(bytes: Uint8Array | undefined): StashedKey | undefined {
  const fields = bytes && decodeFields(bytes);
  const pkcs8 = copy(find(fields, FIELDS.pkcs8));
  const csr = copy(find(fields, FIELDS.csr));
  if (pkcs8 === undefined || csr === undefined) return undefined;
  return { pkcs8, csr, answer: copy(find(fields, FIELDS.answer)) };
}

function field(tag: number, value: Uint8Array | undefined): readonly Field[] {
  return value === undefined ? [] : [[tag, value]];
}

function encodeFields(fields: readonly Field[]): Uint8Array {
  const bytes = Buffer.alloc(fields.reduce((sum, [, value]) => sum + FIELD_HEAD_BYTES + value.length, 0));
  let at = 0;
  for (const [tag, value] of fields) {
    bytes.writeUInt8(tag, at);
    bytes.writeUInt32BE(value.length, at + 1);
    bytes.set(value, at + FIELD_HEAD_BYTES);
    at += FIELD_HEAD_BYTES + value.length;
  }
  return bytes;
}

/** Views of the fields; undefined when the bytes end in the middle of one. */
function decodeFields(bytes: Uint8Array): readonly Field[] | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fields: Field[] = [];
  for (let at = 0; at < bytes.length;) {
    if (at + FIELD_HEAD_BYTES > bytes.length) return undefined;
    const start = at + FIELD_HEAD_BYTES;
    const end = start + view.getUint32(at + 1);
    if (end > bytes.length) return undefined;
    fields.push([view.getUint8(at), bytes.subarray(start, end)]);
    at = end;
  }
  return fields;
}

function find(fields: readonly Field[] | undefined, tag: number): Uint8Array | undefined {
  return fields?.find(([other]) => other === tag)?.[1];
}

/** Copies of all. */
function findAll(fields: readonly Field[] | undefined, tag: number): readonly Uint8Array[] {
  return (fields ?? []).filter(([other]) => other === tag).map(([, value]) => Uint8Array.from(value));
}

/** `slice` of a Buffer is no copy. */
function copy(bytes: Uint8Array | undefined): Uint8Array | undefined {
  return bytes && Uint8Array.from(bytes);
}

function textOf(bytes: Uint8Array | undefined): string | undefined {
  return bytes && Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
}
