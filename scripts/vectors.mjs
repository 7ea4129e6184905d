/**
 * `npm run test:vectors -- FOLDER`: run the tables of test data in a folder against the vault, in process and through
 * HTTPS against a real rks. The folder is not part of the repository.
 */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { setUp, step } from "./setup.mjs";
import { runVitest } from "./vitest.mjs";

const [folder] = process.argv.slice(2);
if (folder === undefined || !existsSync(folder)) {
  process.stderr.write(
    `vectors: ${folder === undefined ? "no folder was named" : `there is no ${folder}`}\n`,
  );
  process.exit(64);
}
setUp();
step("Test vectors");
const env = { RK8S_VECTORS: resolve(folder) };
const { isGood, passed, failed, skipped } = runVitest(["--project", "vectors", "--project", "vectors-e2e"], {
  env,
});
process.stdout.write(`${passed} passed, ${failed} failed, ${skipped.length} skipped\n`);
process.exitCode = isGood && skipped.length === 0 ? 0 : 1;
