import { z } from "zod";
import { decodeBase64Url, encodeBase64Url } from "./base64url.js";

/** Text of 1 to `max` characters. */
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

/** A point in time, RFC 3339 in UTC. */
export const timestamp = z.iso.datetime();

/** A DNS label: what pods and nodes may be called (RFC 1123). */
export const label = z
  .string()
  .max(63)
  .regex(
    /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/,
    "expected lower-case letters, digits and inner hyphens (RFC 1123)",
  );

/** Kubernetes labels and annotations. */
export const stringMap = z
  .record(z.string().min(1).max(317), z.string().max(4096))
  .refine((map) => Object.keys(map).length <= 64, "expected at most 64 entries");
