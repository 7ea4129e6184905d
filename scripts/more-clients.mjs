/**
 * `npm run test:more-clients`: run the scripts of Vault clients that npm and Debian do not have against a real rks: the
 * official Go client (needs Go and its module proxy) and the newest hvac (needs python3 with venv and pip's index).
 * What cannot be had here is SKIPPED, loudly; what can be had and fails is a failure.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT, setUp, step } from "./setup.mjs";
import { runVitest } from "./vitest.mjs";

/** For what downloads; a registry that does not answer must not hold anything up. */
const DOWNLOAD_TIMEOUT_MS = 60_000;
/** A compiler without a cache takes its time. */
const BUILD_TIMEOUT_MS = 300_000;

setUp();
const folder = mkdtempSync(join(tmpdir(), "rk8s-more-clients-"));
try {
  const clients = { goClient: buildGoClient(), python: installHvac() };
  if (Object.values(clients).some((client) => client !== undefined)) test(clients);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function test(clients) {
  step("Testing further clients");
  const env = { RK8S_MORE_CLIENTS: JSON.stringify(clients) };
  const { isGood, passed, failed } = runVitest(["--project", "more-clients"], { env });
  process.stdout.write(`more clients: ${passed} passed, ${failed} failed\n`);
  process.exitCode = isGood ? 0 : 1;
}

/** The Go example as a program; undefined where Go or its modules cannot be had. */
function buildGoClient() {
  step("Building the Go client");
  const cwd = join(ROOT, "examples", "vault-clients", "go-api");
  const modules = attempt("go", ["mod", "download"], { cwd });
  if (modules !== undefined) return skip("the official Go client", modules);
  const program = join(folder, "go-api");
  const failure = attempt("go", ["build", "-o", program, "."], { cwd, timeout: BUILD_TIMEOUT_MS });
  return failure === undefined ? program : fail("the Go client does not build", failure);
}

/** A python of its own with the newest hvac; undefined where it cannot be had. */
function installHvac() {
  step("Installing the newest hvac");
  const home = join(folder, "venv");
  const python = join(home, "bin", "python");
  const failure =
    attempt("python3", ["-m", "venv", home]) ??
    attempt(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "hvac"]);
  return failure === undefined ? python : skip("the newest hvac", failure);
}

/** Run a program to its end; undefined when it succeeded, else why it did not. */
function attempt(program, args, options = {}) {
  const { status, signal, error, stderr } = spawnSync(program, args, {
    stdio: ["ignore", "ignore", "pipe"],
    encoding: "utf8",
    timeout: DOWNLOAD_TIMEOUT_MS,
    ...options,
  });
  if (status === 0) return undefined;
  return `${program} ${args.slice(0, 3).join(" ")}: ${error?.message ?? signal ?? `exit ${status}`}\n${stderr ?? ""}`;
}

function skip(name, reason) {
  process.stdout.write(`SKIPPED ${name}: ${reason.trim()}\n`);
  return undefined;
}

function fail(what, reason) {
  process.stdout.write(`${what}: ${reason.trim()}\n`);
  process.exitCode = 1;
  return undefined;
}
