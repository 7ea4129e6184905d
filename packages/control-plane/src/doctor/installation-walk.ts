import { stat, statfs } from "node:fs/promises";
import { type Finding, type Found, Walk } from "@rk8s/host/diagnosis";
import { RksError } from "@rk8s/protocol";
import type { ControlPlaneConfig, StoreConfig } from "../config/config.js";
import { exists } from "../lifecycle/durable-file.js";
import { assertInitialized } from "../lifecycle/initialize.js";
import { vaultFolderAt, type VaultFolder } from "../lifecycle/vault-folder.js";
import { storeName } from "../store/store-name.js";
import { lookAtRoots } from "./look-at-roots.js";
import { lookAtSecrets } from "./look-at-secrets.js";

/** Below this a store, an audit log or a snapshot is about to fail. */
const LITTLE_SPACE_BYTES = 512 * 1024 * 1024;
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
  await walk.check("vault folder", () => lookAtFolder(config, folder));
  await walk.check("disk", () => lookAtDisk(folder));
  await walk.check("secrets", () => lookAtSecrets(config, folder));
  await walk.check("root", () => lookAtRoots(folder.rootCertificate, options.nowMs));
  await walk.check("clock", () => lookAtClock(folder, options.nowMs));
  yield* walk.take();
}

async function lookAtFolder({ store }: ControlPlaneConfig, folder: VaultFolder): Promise<Found<void>> {
  const isUsed = await isUsedFolder(store, folder);
  const { mode, uid } = await stat(folder.folder);
  const detail = isUsed
    ? `"${folder.folder}" is initialised`
    : `"${folder.folder}" waits for its first start, which looks for the vault at ${storeName(store)}`;
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

/**
 * False for the folder of one more rks on a store outside, which was never started: what others brought is there, and nothing
 * of its own. @throws {RksError} VAULT_NOT_INITIALIZED when there is nothing of a cluster.
 */
async function isUsedFolder(store: StoreConfig, folder: VaultFolder): Promise<boolean> {
  try {
    await assertInitialized(folder);
    return true;
  } catch (reason) {
    if (!(reason instanceof RksError) || store.type === "local") throw reason;
    if ((await exists(folder.rootCertificate)) || (await exists(folder.keys))) return false;
    throw new RksError(reason.code, reason.message, {
      cause: reason,
      suggestion:
        "Run `rks gen certs --config FILE` for a new cluster; for another rks of one that runs, bring its files as docs/operations.md says.",
    });
  }
}

async function lookAtDisk(folder: VaultFolder): Promise<Found<void>> {
  const { bavail, bsize } = await statfs(folder.folder);
  const free = bavail * bsize;
  const detail = `${Math.round(free / 1024 / 1024)} MiB free`;
  if (free >= LITTLE_SPACE_BYTES) return { detail, value: undefined };
  const remedy = "Free disk space: without it nothing is issued, because nothing can be recorded.";
  return { status: "warn", detail, remedy };
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
