import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** Whether the machine has openssl; tests that need it are skipped without. */
export const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;

/** Run openssl in a folder of its own with these files; its output, both streams. Throws when it fails. */
export function openssl(args: readonly string[], files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), "pki-openssl-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, contents] of Object.entries(files)) writeFileSync(join(folder, name), `${contents}\n`);
  return execFileSync("openssl", args, { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** What `openssl x509 -text` says about a PEM certificate. */
export function certificateText(pem: unknown): string {
  return openssl(["x509", "-in", "c.pem", "-noout", "-text"], { "c.pem": String(pem) });
}

/** Verify a leaf over intermediates with strict checks, as of a moment. Throws when openssl refuses it. */
export function verifyChain(chain: {
  readonly leaf: unknown;
  readonly root: unknown;
  readonly intermediates?: readonly unknown[];
  readonly atMs: number;
}): string {
  const { leaf, root, intermediates = [], atMs } = chain;
  const untrusted = intermediates.length === 0 ? [] : ["-untrusted", "chain.pem"];
  const time = ["-attime", String(Math.floor(atMs / 1000))];
  return openssl(["verify", "-x509_strict", ...time, "-CAfile", "root.pem", ...untrusted, "leaf.pem"], {
    "leaf.pem": String(leaf),
    "root.pem": String(root),
    "chain.pem": intermediates.join("\n"),
  });
}
