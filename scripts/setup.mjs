/**
 * Bring a fresh clone to a state in which everything runs: dependencies by the pinned pnpm, then a build. Does
 * nothing, and needs no network, when both are up to date.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const MINIMUM_NODE = [20, 19];

/** Install and build where needed. Ends the process with a readable message when that fails. */
export function setUp() {
  assertNodeVersion();
  const stampFile = join(ROOT, "node_modules", ".set-up");
  const stamp = fingerprint();
  if (!existsSync(stampFile) || readFileSync(stampFile, "utf8") !== stamp) {
    step("Installing dependencies (once; needs the npm registry)");
    // What another user or another store has installed is replaced: nobody is there to be asked.
    const options = ["--frozen-lockfile", "--config.confirm-modules-purge=false"];
    run(...pnpmCommand(["install", ...options, "--reporter=append-only", "--loglevel=warn"]));
    mkdirSync(dirname(stampFile), { recursive: true });
    writeFileSync(stampFile, stamp);
  }
  step("Building");
  run(process.execPath, [join(ROOT, "node_modules", "typescript", "bin", "tsc"), "-b", ...packageProjects()]);
}

/** Say on stderr what happens now. */
export function step(text) {
  process.stderr.write(`• ${text}\n`);
}

/** Run a program in the repository's top folder, with our output; ends the process when it fails. */
export function run(program, args, options = {}) {
  const { status, signal, error } = spawnSync(program, args, {
    cwd: ROOT,
    stdio: ["ignore", 2, 2],
    ...options,
  });
  if (status === 0) return;
  process.stderr.write(
    `\n${program} ${args.join(" ")} failed: ${error?.message ?? signal ?? `exit ${status}`}\n`,
  );
  process.exit(status === null || status === 0 ? 1 : status);
}

/** How to call the pinned pnpm: through the npm that runs us, so that nothing global is needed. */
function pnpmCommand(args) {
  const { devEngines } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  const pnpm = `pnpm@${devEngines.packageManager.version.split("+")[0]}`;
  const npm = process.env.npm_execpath;
  const exec = ["exec", "--yes", "--", pnpm, ...args];
  return npm?.endsWith(".js") ? [process.execPath, [npm, ...exec]] : ["npm", exec];
}

/** Changes whenever the installed tree would: lock file, manifests, and the Node that runs it. */
function fingerprint() {
  const hash = createHash("sha256").update(process.version).update(process.platform).update(process.arch);
  for (const file of ["pnpm-lock.yaml", "pnpm-workspace.yaml", "package.json", ...manifests()]) {
    hash.update(file).update(readFileSync(join(ROOT, file)));
  }
  return hash.digest("hex");
}

function manifests() {
  const packages = readdirSync(join(ROOT, "packages")).map((name) => join("packages", name, "package.json"));
  return [...packages, ...["test-e2e", "examples", "benchmarks"].map((name) => join(name, "package.json"))]
    .filter((file) => existsSync(join(ROOT, file)))
    .toSorted((a, b) => a.localeCompare(b));
}

function packageProjects() {
  return readdirSync(join(ROOT, "packages"))
    .map((name) => join("packages", name))
    .filter((folder) => existsSync(join(ROOT, folder, "tsconfig.json")));
}

function assertNodeVersion() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  const [needMajor, needMinor] = MINIMUM_NODE;
  if (major > needMajor || (major === needMajor && minor >= needMinor)) return;
  process.stderr.write(`Node ${MINIMUM_NODE.join(".")} or newer is needed; this is ${process.version}.\n`);
  process.exit(78);
}
