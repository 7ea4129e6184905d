import { RksError } from "@rk8s/protocol";
import { expect, test } from "vitest";
import { aPkiVault } from "../testing/a-pki-vault.js";
import {
  type AskPki,
  prepareMount,
  readIssuanceCases,
  readKeyRows,
  runIssuanceCases,
  runKeyRows,
} from "../testing/issuance-vectors.js";

/** Set RK8S_VECTORS to the folder with pki_issuance_expanded.json and pki_keysize_rows.json. */
const folder = process.env["RK8S_VECTORS"] ?? "";
const skipped = folder === "";
const TIMEOUT_MS = 120_000;

if (skipped) process.stderr.write("PKI vectors are NOT checked: RK8S_VECTORS names no folder\n");

function isRefusal(error: unknown): boolean {
  const codes = ["ROLE_REFUSED", "INPUT_INVALID", "KEY_TOO_WEAK", "CSR_INVALID"];
  return error instanceof RksError && codes.includes(error.code);
}

test.skipIf(skipped)(
  "the shared issuance cases are issued and refused as they say (needs RK8S_VECTORS)",
  async () => {
    await using pki = await aPkiVault({ rootKey: "none" });
    const ask: AskPki = (_, path, data) => pki.data(path, data);
    await prepareMount(ask, "ec");
    const cases = await readIssuanceCases(folder);
    expect(cases.length).toBeGreaterThan(1000);
    expect(await runIssuanceCases(cases, ask, isRefusal)).toEqual([]);
  },
  TIMEOUT_MS,
);

test.skipIf(skipped)(
  "the shared key rows are signed and refused as they say (needs RK8S_VECTORS)",
  async () => {
    await using pki = await aPkiVault({ rootKey: "none" });
    const ask: AskPki = (_, path, data) => pki.data(path, data);
    await prepareMount(ask, "rsa");
    const rows = await readKeyRows(folder);
    expect(rows.length).toBeGreaterThan(10);
    expect(await runKeyRows(rows, ask, isRefusal)).toEqual([]);
  },
  TIMEOUT_MS,
);
