import { X509Certificate } from "node:crypto";
import { readFile, stat, statfs } from "node:fs/promises";
import { type Finding, type Found, Walk } from "@rk8s/host/diagnosis";
import { RksError } from "@rk8s/protocol";
import type { ControlPlaneConfig } from "../config/config.js";
import { assertInitialized } from "../lifecycle/initialize.js";
import { vaultFolderAt, type VaultFolder } from "../lifecycle/vault-folder.js";

/** Below this a store, an audit log or a snapshot is about to fail. */
const LITTLE_SPACE_BYTES = 512 * 1024 * 1024;
/** Part of the root's life after which somebody should think of the next one. */
const OLD_ROOT = 0.9;
/** An audit log from the future: the clock was put back since. */
const CLOCK_TOLERANCE_MS = 5_000;
/** Mode bits that let others than the owner write; what must not be read is in files of its own, mode 0600. */
const WRITABLE_BY_OTHERS = 0o022;

/** Look at what is on disk: the vault folder, the secrets in it, the root certificate, the clock that the log has seen. */
export async function* walkInstallation(
  config: ControlPlaneConfig,
  options: { readonly nowMs: number },
): AsyncGenerator<Finding, void, void> {
  const folder = vaultFolderAt(config.vaultFolder);
  const walk = new Walk();
  await walk.check("vault folder", () => lookAtFolder(folder));
  await walk.check("disk", () => lookAtDisk(folder));
  await walk.check("secrets", () => lookAtSecrets(config, folder));
  await walk.check("root", () => lookAtRoot(folder, options.nowMs));
  await walk.check("clock", () => lookAtClock(folder, options.nowMs));
  yield* walk.take();
}

async function lookAtFolder(folder: VaultFolder): Promise<Found<void>> {
  await assertInitialized(folder);
  const { mode, uid } = await stat(folder.folder);
  const detail = `"${folder.folder}" is initialised`;
  if ((mode & WRITABLE_BY_OTHERS) !== 0) {
    return {
      status: "warn",
      detail: `${detail}, and other users of this host can write to it`,
      remedy: `Run \`chmod go-w ${folder.folder}\`.`,
    };
  }
  if (process.getuid !== undefined && uid !== process.getuid()) {
    return { status: "warn", detail: `${detail}, and belongs to another user (uid ${uid})` };
  }
  return { detail, value: undefined };
}

async function lookAtDisk(folder: VaultFolder): Promise<Found<void>> {
  const { bavail, bsize } = await statfs(folder.folder);
  const free = bavail * bsize;
  const detail = `${Math.round(free / 1024 / 1024)} MiB free`;
  if (free >= LITTLE_SPACE_BYTES) return { detail, value: undefined };
  const remedy = "Free disk space: without it nothing is issued, because nothing can be recorded.";
  return { status: "warn", detail, remedy };
}

async function lookAtSecrets(config: ControlPlaneConfig, folder: VaultFolder): Promise<Found<void>> {
  const found: string[] = [];
  for (const file of [folder.rootToken, folder.rootKey]) if (await isFile(file)) found.push(file);
  if (found.length > 0) {
    return {
      status: "warn",
      detail: `in clear on this host: ${found.join(", ")}`,
      remedy: "Move them off this host, and set keep_dangerous_files: false.",
    };
  }
  if (config.seal.type === "shamir" && (await isFile(folder.keys))) {
    return {
      status: "warn",
      detail: `"${folder.keys}" opens the vault: whoever reads this disk owns the cluster`,
      remedy: "Keep it only if rks must start unattended; else move it off this host.",
    };
  }
  return { detail: "no unseal keys beside the vault, no root key in clear", value: undefined };
}

async function lookAtRoot(folder: VaultFolder, nowMs: number): Promise<Found<void>> {
  const root = new X509Certificate(await readFile(folder.rootCertificate));
  const [from, to] = [Date.parse(root.validFrom), Date.parse(root.validTo)];
  const detail = `the root certificate is valid until ${new Date(to).toISOString()}`;
  if (nowMs > to) {
    throw new RksError(
      "CERTIFICATE_EXPIRED",
      `the root certificate expired at ${new Date(to).toISOString()}`,
      {
        suggestion:
          "Set certificates.root_rotation to auto and start rks again; then `rks node rejoin NAME` for each node.",
      },
    );
  }
  if ((nowMs - from) / (to - from) < OLD_ROOT) return { detail, value: undefined };
  return { status: "warn", detail, remedy: "Begin a root rotation now: `rks ca prepare`." };
}

async function lookAtClock(folder: VaultFolder, nowMs: number): Promise<Found<void>> {
  const { mtimeMs } = await stat(folder.audit).catch(() => ({ mtimeMs: 0 }));
  const aheadMs = mtimeMs - nowMs;
  if (aheadMs <= CLOCK_TOLERANCE_MS) {
    return {
      detail: `it is ${new Date(nowMs).toISOString()}, after everything in the audit log`,
      value: undefined,
    };
  }
  throw new RksError(
    "CLOCK_SKEW",
    `the audit log was written ${Math.round(aheadMs / 1000)} s in the future: the clock was put back`,
    { suggestion: "Set this host's clock right (timedatectl set-ntp true)." },
  );
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}
