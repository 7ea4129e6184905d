import {
  closeSync,
  constants,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  writeSync,
} from "node:fs";

/** What begins PKCS#8 of a P-256 key, and what comes of it. */
const PKCS8_P256 = Buffer.from(
  "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420",
  "hex",
);
const PKCS8_BYTES = 138;
const SCALAR_AT = 36;
const SCALAR_BYTES = 32;
/** Bytes of DER in one line of PEM. */
const PEM_LINE_BYTES = 48;

/** Ways to write one private key; each is at least 32 bytes that nothing else has. */
export type Needles = Readonly<Record<"bigEndian" | "littleEndian" | "pem", Buffer>>;

/** A place in a process's memory where a needle is. */
export interface Hit {
  readonly form: keyof Needles;
  /** Whether the memory is locked: it is never swapped out. */
  readonly isLocked: boolean;
  /** What /proc says of the region. */
  readonly region: string;
}

/** All spellings of a private key. DER holds the big-endian one. */
export function needlesOf(pkcs8: Buffer): Needles {
  const bigEndian = Buffer.from(pkcs8.subarray(SCALAR_AT, SCALAR_AT + SCALAR_BYTES));
  return {
    bigEndian,
    littleEndian: Buffer.from(bigEndian.toReversed()),
    // The second line begins within the scalar.
    pem: Buffer.from(pkcs8.subarray(PEM_LINE_BYTES, 2 * PEM_LINE_BYTES).toString("base64")),
  };
}

/**
 * The private keys that a supervisor's pipes hold, read by a copy of its descriptor and written back. Nobody may use
 * the pipes at the same time.
 */
export function keysInPipes(supervisorPid: number): Buffer[] {
  const folder = `/proc/${supervisorPid}/fd`;
  const pipe = readdirSync(folder).find((name) =>
    /\/rkl-\w+\/[ab] \(deleted\)$/.test(readlinkSync(`${folder}/${name}`)),
  );
  if (pipe === undefined) throw new Error(`process ${supervisorPid} holds no pipe of an identity`);
  const descriptor = openSync(`${folder}/${pipe}`, constants.O_RDWR | constants.O_NONBLOCK);
  try {
    const buffer = Buffer.alloc(65_536);
    const held = buffer.subarray(0, readSync(descriptor, buffer));
    writeSync(descriptor, held);
    return keysIn(held);
  } finally {
    closeSync(descriptor);
  }
}

/** Every P-256 key in PKCS#8 that the bytes hold. */
export function keysIn(bytes: Buffer): Buffer[] {
  const keys: Buffer[] = [];
  for (let at = bytes.indexOf(PKCS8_P256); at !== -1; at = bytes.indexOf(PKCS8_P256, at + 1)) {
    keys.push(Buffer.from(bytes.subarray(at, at + PKCS8_BYTES)));
  }
  return keys;
}

/** Look for a key in everything that a process may write to in its memory. Needs the right to trace the process. */
export function scanProcess(pid: number, needles: Needles): Hit[] {
  const memory = openSync(`/proc/${pid}/mem`, "r");
  try {
    return regionsOf(pid).flatMap(({ start, end, name, isLocked }) =>
      findIn(memory, start, end, needles).map((form) => ({ form, isLocked, region: name })),
    );
  } finally {
    closeSync(memory);
  }
}

/** Look for a key in bytes. */
export function scanBytes(bytes: Buffer, needles: Needles): (keyof Needles)[] {
  return (Object.keys(needles) as (keyof Needles)[]).flatMap((form) => {
    const forms: (keyof Needles)[] = [];
    for (let at = bytes.indexOf(needles[form]); at !== -1; at = bytes.indexOf(needles[form], at + 1)) {
      forms.push(form);
    }
    return forms;
  });
}

interface Region {
  readonly start: number;
  readonly end: number;
  readonly name: string;
  readonly isLocked: boolean;
}

function regionsOf(pid: number): Region[] {
  const regions: Region[] = [];
  let head: Omit<Region, "isLocked"> | undefined;
  for (const line of readFileSync(`/proc/${pid}/smaps`, "utf8").split("\n")) {
    const match = /^([0-9a-f]+)-([0-9a-f]+) (rw\S+) \S+ \S+ \S+\s*(.*)$/.exec(line);
    if (match !== null) {
      const [, start, end, , name] = match;
      head = {
        start: Number.parseInt(start!, 16),
        end: Number.parseInt(end!, 16),
        name: name || "anonymous",
      };
    } else if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) {
      head = undefined;
    } else if (head !== undefined && line.startsWith("VmFlags:")) {
      regions.push({ ...head, isLocked: / lo( |$)/.test(line) });
    }
  }
  return regions;
}

const WINDOW_BYTES = 4_194_304;
const OVERLAP_BYTES = 128;

function findIn(memory: number, start: number, end: number, needles: Needles): (keyof Needles)[] {
  const window = Buffer.alloc(Math.min(WINDOW_BYTES, end - start));
  const found = new Map<number, keyof Needles>();
  for (let at = start; at < end; at += WINDOW_BYTES - OVERLAP_BYTES) {
    const read = readAt(memory, window.subarray(0, Math.min(window.length, end - at)), at);
    for (const form of Object.keys(needles) as (keyof Needles)[]) {
      for (let i = read.indexOf(needles[form]); i !== -1; i = read.indexOf(needles[form], i + 1)) {
        found.set(at + i, form);
      }
    }
  }
  return [...found.values()];
}

/** Pages that cannot be read, a device's for example, hold no key of ours. */
function readAt(memory: number, into: Buffer, at: number): Buffer {
  try {
    return into.subarray(0, readSync(memory, into, 0, into.length, at));
  } catch {
    return into.subarray(0, 0);
  }
}
