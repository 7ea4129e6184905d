/** `npm run check`: what must hold beside the tests: types everywhere, lint with layer boundaries, format, no dead code. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { ROOT, run, setUp, step } from "./setup.mjs";

const tool = (...path) => join(ROOT, "node_modules", ...path);

setUp();
step("Type-checking tests, examples and benchmarks");
run(process.execPath, [tool("typescript", "bin", "tsc"), "-b"]);
step("Comparing docs/authorization.md with the code");
run(process.execPath, [join(ROOT, "scripts", "authorization.mjs"), "--check"]);
step("Linting");
run(process.execPath, [tool("oxlint", "bin", "oxlint"), "--type-aware", "--deny-warnings"]);
step("Checking the format");
run(process.execPath, [tool("prettier", "bin", "prettier.cjs"), "--check", "--log-level=warn", "."]);
step("Looking for dead code");
run(process.execPath, [tool("knip", "bin", "knip.js"), "--no-progress"]);
step("Checking what each package would publish");
for (const name of readdirSync(join(ROOT, "packages"))) {
  run(process.execPath, [
    tool("publint", "src", "cli.js"),
    "run",
    join("packages", name),
    "--pack",
    "npm",
    "--strict",
  ]);
}
