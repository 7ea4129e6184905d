import { spawnSync } from "node:child_process";
import { hasEtcd } from "@rk8s/storage/testing/etcd";
import { missingFor } from "@rk8s/storage-sql/testing";
import { describe } from "vitest";

/** What a suite may need beyond Node, and whether it is here. */
const AVAILABLE = {
  root: () => process.getuid?.() === 0,
  linux: () => process.platform === "linux",
  openssl: () => runs("openssl", ["version"]),
  curl: () => runs("curl", ["--version"]),
  hvac: () => runs("/usr/bin/python3", ["-c", "import hvac"]),
  ansible: () => runs("ansible-playbook", ["--version"]),
  faketime: () => runs("faketime", ["-f", "+1s", "true"]),
  etcd: hasEtcd,
  postgres: () => missingFor("postgres") === undefined,
  mariadb: () => missingFor("mariadb") === undefined,
  strace: () => runs("strace", ["-f", "true"]),
  "mkfs.ext4": () => runs("mkfs.ext4", ["-V"]),
  "loop mounts": () =>
    process.getuid?.() === 0 && runs("losetup", ["--find"]) && runs("unshare", ["--mount", "true"]),
  "network namespaces": () =>
    process.getuid?.() === 0 && runs("ip", ["netns", "list"]) && runs("nft", ["--version"]),
} as const;

/** A suite that needs more than Node. Where that is missing it is skipped, loudly: `SKIPPED (needs strace)`. */
export function suiteThatNeeds(
  needs: readonly (keyof typeof AVAILABLE)[],
  name: string,
  define: () => void,
): void {
  const missing = needs.filter((need) => !AVAILABLE[need]());
  if (missing.length === 0) describe(name, define);
  else describe.skip(`${name} (needs ${missing.join(", ")})`, define);
}

function runs(program: string, args: readonly string[]): boolean {
  return spawnSync(program, args, { stdio: "ignore" }).status === 0;
}
