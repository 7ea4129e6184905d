import { fromUtf8 } from "@rk8s/protocol";
import { contextConstructed, type DerReader, TAG } from "./der-reader.js";
import { encodeContextConstructed, encodeOid, encodeUtf8String } from "./der-writer.js";
import { GENERAL_NAME } from "./general-name.js";

/** An alternative name of a kind that its object identifier defines (RFC 5280 §4.2.1.6), for example a user principal name. */
export interface OtherName {
  /** Object identifier in dotted form. */
  readonly type: string;
  readonly value: string;
}

/** Read a GeneralName of kind otherName; undefined when its value is anything but a UTF8String. */
export function readOtherName(reader: DerReader): OtherName | undefined {
  const fields = reader.enter(GENERAL_NAME.OTHER);
  const type = fields.oid();
  const wrapped = fields.enter(contextConstructed(0));
  fields.finish();
  const isUtf8 = wrapped.nextTag === TAG.UTF8_STRING;
  const content = isUtf8 ? wrapped.content(TAG.UTF8_STRING) : wrapped.element();
  wrapped.finish();
  if (!isUtf8) return undefined;
  try {
    return { type, value: fromUtf8(content) };
  } catch {
    return wrapped.refuse("a UTF8String is not UTF-8");
  }
}

/** Encode a GeneralName of kind otherName with a UTF8String. @throws {TypeError} when the type is not an object identifier. */
export function encodeOtherName(name: OtherName): Uint8Array {
  const value = encodeContextConstructed(0, encodeUtf8String(name.value));
  return encodeContextConstructed(0, encodeOid(name.type), value);
}
