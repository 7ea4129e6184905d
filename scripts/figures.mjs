import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { ROOT, run } from "./setup.mjs";

/**
 * Run benchmarks (`npm run bench -- NAME …`) and compare what they measure with what it must be. Gives a line for each
 * requirement and those that do not hold; a figure that is not measured does not hold either.
 */
export function checkFigures(names, args, requirements) {
  run(process.execPath, [join(ROOT, "node_modules", "typescript", "bin", "tsc"), "-b", "benchmarks"]);
  const { status, stdout } = spawnSync(
    process.execPath,
    [join(ROOT, "benchmarks", "dist", "main.js"), ...names, ...args, "--json"],
    { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"], encoding: "utf8", maxBuffer: 64 * 1024 * 1024 },
  );
  if (status !== 0) return { lines: [], broken: [`the benchmarks ended with exit code ${status}`] };
  const figures = JSON.parse(stdout);
  const lines = requirements.map((requirement) => judge(figures, requirement));
  return {
    lines: lines.map(({ text }) => text),
    broken: lines.filter(({ holds }) => !holds).map(({ text }) => text),
  };
}

/** Where a figure depends on others, `most` and `least` are functions that are given the way to read one: `(measure, subject)`. */
function judge(figures, { benchmark, subject = "rks", measure, most = Infinity, least = -Infinity }) {
  const read = (name, of = subject) =>
    figures.find((one) => one.benchmark === benchmark && one.subject === of && one.measure === name)?.value;
  const bound = (limit) => (typeof limit === "function" ? limit(read) : limit);
  const [upper, lower] = [bound(most), bound(least)];
  const value = read(measure);
  const holds = value !== undefined && value <= upper && value >= lower;
  const range = [
    ...(lower > -Infinity ? [`at least ${lower}`] : []),
    ...(upper < Infinity ? [`at most ${upper}`] : []),
  ];
  const text = `${benchmark}, ${subject}: ${measure} ${value ?? "was not measured"}, ${range.join(", ")}`;
  return { holds, text };
}
