import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { JsonObject } from "../../vault/backend.js";
import { aCsr, aKey, type TestKey } from "./a-csr.js";

/**
 * Ask a PKI mount, in this process or over HTTP; the path is relative to the mount. Resolves with the answer's data, rejects
 * with whatever stands for a refusal there.
 */
export type AskPki = (
  operation: "update" | "read",
  path: string,
  data: JsonObject,
) => Promise<JsonObject | undefined>;

/** A case that did not go as it should have. */
export interface FailedCase {
  readonly name: string;
  readonly expected: "issued" | "refused";
  readonly got: string;
}

const record = z.record(z.string(), z.unknown());
const issuanceCases = z.array(
  z.object({ id: z.number(), role: record, request: record, allowed: z.boolean() }),
);
const keyRows = z.array(
  z.object({
    id: z.number(),
    role_key_type: z.string(),
    role_key_bits: z.array(z.number()),
    role_signature_bits: z.array(z.number()),
    use_pss: z.boolean(),
    csr_keys: z.array(z.tuple([z.string(), z.number()])),
    expect_error: z.boolean(),
  }),
);

export type IssuanceCase = z.infer<typeof issuanceCases>[number];
export type KeyRow = z.infer<typeof keyRows>[number];

/** `pki_issuance_expanded.json` of a folder of test vectors. */
export async function readIssuanceCases(folder: string): Promise<readonly IssuanceCase[]> {
  return issuanceCases.parse(await readJson(join(folder, "pki_issuance_expanded.json")));
}

/** `pki_keysize_rows.json` of a folder of test vectors. */
export async function readKeyRows(folder: string): Promise<readonly KeyRow[]> {
  return keyRows.parse(await readJson(join(folder, "pki_keysize_rows.json")));
}

/** Give a mount a root that can sign, with a key of this type. */
export async function prepareMount(ask: AskPki, keyType: "ec" | "rsa"): Promise<void> {
  await ask("update", "root/generate/internal", {
    common_name: "Vectors Root",
    key_type: keyType,
    ttl: "87600h",
  });
}

/**
 * Write each case's role, issue by it, and compare. `isRefusal` tells a rule's no from a failure.
 * @returns the cases that did not go as expected.
 */
export async function runIssuanceCases(
  cases: readonly IssuanceCase[],
  ask: AskPki,
  isRefusal: (error: unknown) => boolean,
): Promise<readonly FailedCase[]> {
  const failed: FailedCase[] = [];
  for (const [index, { id, role, request, allowed }] of cases.entries()) {
    const name = `case ${index} of row ${id}: ${JSON.stringify({ role, request })}`;
    await ask("update", "roles/vector", role);
    const failure = await compare(allowed, isRefusal, () => ask("update", "issue/vector", request));
    if (failure !== undefined) failed.push({ name, ...failure });
  }
  return failed;
}

/**
 * Sign a CSR of each key by each role of each row, and compare.
 * @returns the combinations that did not go as expected.
 */
export async function runKeyRows(
  rows: readonly KeyRow[],
  ask: AskPki,
  isRefusal: (error: unknown) => boolean,
): Promise<readonly FailedCase[]> {
  const failed: FailedCase[] = [];
  const keys = new Map<string, TestKey>();
  for (const row of rows) {
    for (const { role, keyType, keyBits } of combinations(row)) {
      const label = `${keyType}-${keyBits}`;
      const key = keys.get(label) ?? aKey(keyType, keyBits);
      keys.set(label, key);
      await ask("update", "roles/vector", role);
      const csr = aCsr({ key, commonName: "localhost" });
      const failure = await compare(!row.expect_error, isRefusal, () =>
        ask("update", "sign/vector", { csr, common_name: "localhost" }),
      );
      if (failure !== undefined)
        failed.push({ name: `row ${row.id}, ${label}, ${JSON.stringify(role)}`, ...failure });
    }
  }
  return failed;
}

function combinations(
  row: KeyRow,
): { readonly role: JsonObject; readonly keyType: string; readonly keyBits: number }[] {
  return row.role_key_bits.flatMap((bits) =>
    row.role_signature_bits.flatMap((signatureBits) =>
      row.csr_keys.map(([keyType, keyBits]) => ({
        keyType,
        keyBits,
        role: {
          key_type: row.role_key_type,
          key_bits: bits,
          signature_bits: signatureBits,
          use_pss: row.use_pss,
          allow_any_name: true,
        },
      })),
    ),
  );
}

async function compare(
  allowed: boolean,
  isRefusal: (error: unknown) => boolean,
  issue: () => Promise<JsonObject | undefined>,
): Promise<Omit<FailedCase, "name"> | undefined> {
  const expected = allowed ? "issued" : "refused";
  try {
    const data = await issue();
    const issued = typeof data?.["certificate"] === "string";
    if (issued && allowed) return undefined;
    return { expected, got: issued ? "issued" : JSON.stringify(data) };
  } catch (error) {
    return !allowed && isRefusal(error) ? undefined : { expected, got: String(error) };
  }
}

async function readJson(path: string): Promise<unknown> {
  return JSON.parse(await readFile(path, "utf8"));
}
