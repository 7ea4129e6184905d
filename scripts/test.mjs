/**
 * `npm test`: set up, then run every test that needs only Node. Suites that need more say `SKIPPED (needs …)` and are
 * counted; with REQUIRE_ALL_SUITES=1, as in CI, a skip is a failure. Arguments go to vitest.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT, setUp, step } from "./setup.mjs";

setUp();
step("Testing");
const folder = mkdtempSync(join(tmpdir(), "rk8s-test-"));
const report = join(folder, "report.json");
const { status } = spawnSync(
  process.execPath,
  [
    join(ROOT, "node_modules", "vitest", "vitest.mjs"),
    "run",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${report}`,
    ...process.argv.slice(2),
  ],
  { cwd: ROOT, stdio: ["ignore", "inherit", "inherit"] },
);
const { passed, failed, skipped } = summary(report);
rmSync(folder, { recursive: true, force: true });

for (const name of skipped) process.stdout.write(`SKIPPED ${name}\n`);
process.stdout.write(`${passed} passed, ${failed} failed, ${skipped.length} skipped\n`);
const skipsFail = process.env.REQUIRE_ALL_SUITES === "1" && skipped.length > 0;
if (skipsFail) process.stdout.write("a suite was skipped, and REQUIRE_ALL_SUITES=1 makes that a failure\n");
process.exitCode = status === 0 && failed === 0 && passed > 0 && !skipsFail ? 0 : 1;

/** Counts of vitest's JSON report; a run that left none counts as one failure. */
function summary(file) {
  let results;
  try {
    results = JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return { passed: 0, failed: 1, skipped: [] };
  }
  const assertions = results.testResults.flatMap((suite) => suite.assertionResults);
  const brokenSuites = results.testResults.filter(
    (suite) => suite.status === "failed" && suite.assertionResults.length === 0,
  );
  return {
    passed: assertions.filter((one) => one.status === "passed").length,
    failed: assertions.filter((one) => one.status === "failed").length + brokenSuites.length,
    skipped: assertions
      .filter((one) => one.status === "skipped" || one.status === "pending")
      .map(({ fullName }) => fullName),
  };
}
