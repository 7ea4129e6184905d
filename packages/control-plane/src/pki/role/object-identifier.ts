import { encodeOid } from "@rk8s/x509";

const MAX_CHARACTERS = 200;

/** Whether a text is an object identifier that DER can carry. */
export function isObjectIdentifier(text: string): boolean {
  if (text.length > MAX_CHARACTERS || !/^[0-2](?:\.(?:0|[1-9]\d*))+$/.test(text)) return false;
  try {
    return encodeOid(text).length > 2;
  } catch {
    return false;
  }
}
