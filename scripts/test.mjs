/**
 * `npm test`: set up, then run every test that needs only Node. Suites that need more say `SKIPPED (needs …)` and are
 * counted; with REQUIRE_ALL_SUITES=1, as in CI, a skip is a failure. Arguments go to vitest.
 */
import { setUp, step } from "./setup.mjs";
import { runVitest } from "./vitest.mjs";

setUp();
step("Testing");
const { isGood, passed, failed, skipped } = runVitest(process.argv.slice(2));

for (const name of skipped) process.stdout.write(`SKIPPED ${name}\n`);
process.stdout.write(`${passed} passed, ${failed} failed, ${skipped.length} skipped\n`);
const skipsFail = process.env.REQUIRE_ALL_SUITES === "1" && skipped.length > 0;
if (skipsFail) process.stdout.write("a suite was skipped, and REQUIRE_ALL_SUITES=1 makes that a failure\n");
process.exitCode = isGood && !skipsFail ? 0 : 1;
