import { z } from "zod";
import { decodeBase64Url, encodeBase64Url } from "./base64url.js";

/** Text of 1 to `max` characters (UTF-16 code units, as everywhere in the protocol). */
export function text(max: number): z.ZodString {
  return z.string().min(1).max(max);
}

/** Bytes, on the wire as base64url without padding (RFC 4648 §5). */
export function bytes(bounds: {
  readonly min: number;
  readonly max: number;
}): z.ZodCodec<z.ZodString, z.ZodCustom<Uint8Array, Uint8Array>> {
  const size = z.custom<Uint8Array>(
    (value) => value instanceof Uint8Array && value.length >= bounds.min && value.length <= bounds.max,
    { message: `expected ${bounds.min} to ${bounds.max} bytes` },
  );
  return z.codec(z.string().max(Math.ceil((bounds.max * 4) / 3)), size, {
    encode: encodeBase64Url,
    decode: (value, context) => {
      const decoded = decodeBase64Url(value);
      if (decoded !== undefined) return decoded;
      context.issues.push({ code: "custom", message: "expected base64url without padding", input: value });
      return z.NEVER;
    },
  });
}

/**
 * A list of at most `max` items. The length is checked before any item is looked at, so that a message full of
 * wrong items costs no more than one of the permitted length.
 */
export function list<S extends z.ZodType>(
  item: S,
  max: number,
  min = 0,
): z.ZodPipe<z.ZodArray<z.ZodUnknown>, z.ZodArray<S>> {
  return z.array(z.unknown()).min(min).max(max).pipe(z.array(item));
}

/** A map of at most `max` entries; like `list`, it is counted before it is read. */
export function map<K extends z.ZodString, V extends z.ZodType>(
  key: K,
  value: V,
  max: number,
): z.ZodPipe<z.ZodRecord<z.ZodString, z.ZodUnknown>, z.ZodRecord<K, V>> {
  return z
    .record(z.string(), z.unknown())
    .refine((entries) => Object.keys(entries).length <= max, `expected at most ${max} entries`)
    .pipe(z.record(key, value));
}

/** A point in time, RFC 3339 in UTC with the letter Z, at most nanoseconds. */
export const timestamp = z.iso.datetime().max(30);

/** A DNS label: what pods and nodes may be called (RFC 1123). */
export const label = z
  .string()
  .max(63)
  .regex(
    /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/,
    "expected lower-case letters, digits and inner hyphens (RFC 1123)",
  );

/** Kubernetes labels and annotations. */
export const stringMap = map(z.string().min(1).max(317), z.string().max(4096), 64);
