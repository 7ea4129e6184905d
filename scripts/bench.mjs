/** `npm run bench [-- NAME] [--json]`: set up, build the benchmarks and run them. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { ROOT, run, setUp } from "./setup.mjs";

setUp();
run(process.execPath, [join(ROOT, "node_modules", "typescript", "bin", "tsc"), "-b", "benchmarks"]);
const { status } = spawnSync(
  process.execPath,
  [join(ROOT, "benchmarks", "dist", "main.js"), ...process.argv.slice(2)],
  { cwd: ROOT, stdio: "inherit" },
);
process.exitCode = status ?? 1;
