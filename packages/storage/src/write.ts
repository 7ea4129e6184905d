import type { Write } from "./storage.js";

/** About how many bytes a write is, for the bounds of queues and batches: a key counts its UTF-16 length. */
export function sizeOfWrite(write: Write): number {
  return write.key.length + (write.type === "put" ? write.value.byteLength : 0);
}

/** A write that waits must not change with the caller's bytes. */
export function copyWrite(write: Write): Write {
  return write.type === "put" ? { ...write, value: Uint8Array.from(write.value) } : write;
}
