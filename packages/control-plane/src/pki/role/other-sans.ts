import { RksError } from "@rk8s/protocol";
import type { OtherName } from "@rk8s/x509";
import { isObjectIdentifier } from "./object-identifier.js";

const OTHER_SAN = /^([0-9.]+);utf-?8:(.+)$/is;

/** Allows every other name of every type. */
export const ANY_OTHER_SAN = "*";

/**
 * A name of a kind that its object identifier defines, as Vault writes it: `1.3.6.1.4.1.311.20.2.3;UTF8:me@example.org`.
 * @throws {RksError} INPUT_INVALID.
 */
export function parseOtherSan(field: string, text: string): OtherName {
  const [, type, value] = OTHER_SAN.exec(text) ?? [];
  if (type !== undefined && value !== undefined && isObjectIdentifier(type)) return { type, value };
  throw new RksError(
    "INPUT_INVALID",
    `${field} has ${JSON.stringify(text.slice(0, 200))}, which is no name`,
    {
      suggestion: "Write <object identifier>;UTF8:<value>.",
    },
  );
}
