import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "./setup.mjs";

/**
 * Run vitest and count. `passed`, `failed` and the names of what was `skipped` come from its report, `output` is what
 * it said when it was told to be `quiet`. `isGood`: something passed and nothing failed.
 */
export function runVitest(args, { node = process.execPath, env = {}, quiet = false } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "rk8s-test-"));
  const report = join(folder, "report.json");
  const { status, stdout, stderr } = spawnSync(
    node,
    [
      join(ROOT, "node_modules", "vitest", "vitest.mjs"),
      "run",
      "--reporter=default",
      "--reporter=json",
      `--outputFile.json=${report}`,
      ...args,
    ],
    {
      cwd: ROOT,
      env: { ...process.env, ...env },
      stdio: quiet ? ["ignore", "pipe", "pipe"] : ["ignore", "inherit", "inherit"],
      maxBuffer: 256 * 1024 * 1024,
      encoding: "utf8",
    },
  );
  const counts = countsOf(report);
  rmSync(folder, { recursive: true, force: true });
  const isGood = status === 0 && counts.failed === 0 && counts.passed > 0;
  return { ...counts, isGood, output: `${stdout ?? ""}${stderr ?? ""}` };
}

/** Counts of vitest's JSON report; a run that left none counts as one failure. */
function countsOf(file) {
  let results;
  try {
    results = JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return { suites: 0, passed: 0, failed: 1, skipped: [] };
  }
  const assertions = results.testResults.flatMap((suite) => suite.assertionResults);
  const brokenSuites = results.testResults.filter(
    (suite) => suite.status === "failed" && suite.assertionResults.length === 0,
  );
  return {
    suites: results.testResults.length,
    passed: assertions.filter((one) => one.status === "passed").length,
    failed: assertions.filter((one) => one.status === "failed").length + brokenSuites.length,
    skipped: assertions
      .filter((one) => one.status === "skipped" || one.status === "pending")
      .map(({ fullName }) => fullName),
  };
}
