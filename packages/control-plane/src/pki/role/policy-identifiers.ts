import { RksError } from "@rk8s/protocol";
import { type CertificatePolicy, encodeCertificatePolicies } from "@rk8s/x509";
import { z } from "zod";
import type { FieldMeta } from "../../vault/field-types.js";

const MAX_POLICIES = 100;
const MAX_TEXT = 16_384;

const policySchema = z.object({
  oid: z.string(),
  cps: z.string().optional(),
  notice: z.string().optional(),
});

/**
 * The field `policy_identifiers`: object identifiers as a list or with commas, or objects `{oid, cps, notice}` as a list
 * or as JSON text. Gives texts: identifiers, and JSON for what has more than that.
 */
export function policyIdentifiers(): z.ZodType<readonly string[]> {
  return z
    .unknown()
    .optional()
    .transform((value, context) => {
      const entries = value === undefined || value === null ? [] : readList(value);
      const policies = entries?.length === 0 ? [] : entries?.map(readEntry);
      if (policies !== undefined && policies.length <= MAX_POLICIES && !policies.includes(undefined)) {
        return policies.filter((policy) => policy !== undefined).map(canonicalText);
      }
      context.addIssue({
        code: "custom",
        message: "expected object identifiers, or objects with oid, cps and notice",
        input: value,
      });
      return z.NEVER;
    })
    .meta({ type: "array" } satisfies FieldMeta);
}

/**
 * The extension for texts that `policyIdentifiers` gave; undefined for none.
 * @throws {RksError} INPUT_INVALID when a policy cannot be written: no object identifier, twice the same, a notice too long.
 */
export function encodePolicyIdentifiers(texts: readonly string[]): Uint8Array | undefined {
  if (texts.length === 0) return undefined;
  try {
    return encodeCertificatePolicies(texts.map((text) => readText(text) ?? { oid: text }));
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new RksError("INPUT_INVALID", `policy_identifiers is refused: ${cause.message}`, {
      cause,
      suggestion: "Write object identifiers with dots, each once, and notices of at most 200 characters.",
    });
  }
}

function readList(value: unknown): readonly unknown[] | undefined {
  if (Array.isArray(value)) return value as readonly unknown[];
  if (typeof value !== "string" || value.length > MAX_TEXT) return undefined;
  const text = value.trim();
  if (text.startsWith("[") || text.startsWith("{")) {
    const parsed = parseJson(text);
    return Array.isArray(parsed) ? (parsed as readonly unknown[]) : [parsed];
  }
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

function readEntry(entry: unknown): CertificatePolicy | undefined {
  if (typeof entry === "string") return entry.length > MAX_TEXT ? undefined : readText(entry);
  const parsed = policySchema.safeParse(entry);
  return parsed.success ? { ...parsed.data, oid: parsed.data.oid.trim() } : undefined;
}

function readText(text: string): CertificatePolicy | undefined {
  const trimmed = text.trim();
  return trimmed.startsWith("{") ? readEntry(parseJson(trimmed)) : { oid: trimmed };
}

function canonicalText({ oid, cps, notice }: CertificatePolicy): string {
  return cps === undefined && notice === undefined ? oid : JSON.stringify({ oid, cps, notice });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
