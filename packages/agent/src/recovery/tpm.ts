import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { access, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RksError } from "@rk8s/protocol";
import type { RecoveryCallOptions, RecoveryMethod } from "./recovery-method.js";
import { runTool } from "./run-tool.js";

/** The kernel's resource manager. */
const DEFAULT_DEVICE = "/dev/tpmrm0";

/**
 * A primary key follows from the TPM's owner seed and this template alone: after a reboot the same words give the same
 * key, so that nothing needs to be kept. It signs what it is given and can neither decrypt nor leave the TPM.
 */
const TEMPLATE = [
  ...["-C", "o", "-g", "sha256", "-G", "ecc256:ecdsa-sha256:null"],
  ...["-a", "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign"],
];

export interface TpmInit {
  /** How tpm2-tools reach the TPM (TPM2TOOLS_TCTI); default: the kernel's resource manager. */
  readonly tcti?: string | undefined;
}

/**
 * A TPM 2.0, by tpm2-tools. The owner hierarchy must have no password, as it is by default. Clearing the TPM makes
 * another key of it.
 */
export function tpm(init: TpmInit = {}): RecoveryMethod {
  const tcti = init.tcti ?? `device:${DEFAULT_DEVICE}`;
  return {
    kind: "tpm",

    async problem(options) {
      try {
        if (init.tcti === undefined) await access(DEFAULT_DEVICE, constants.R_OK | constants.W_OK);
        await withKey(tcti, options, () => Promise.resolve());
        return undefined;
      } catch (reason) {
        const { code } = reason as NodeJS.ErrnoException;
        if (code === "ENOENT") return `there is no TPM "${DEFAULT_DEVICE}"`;
        if (code === "EACCES") return `this user may not use the TPM "${DEFAULT_DEVICE}"`;
        return RksError.from(reason).message;
      }
    },

    publicKey: async (options) =>
      withKey(tcti, options, async (folder) => readFile(join(folder, "public.der"))),

    prove: async (transcript, options) =>
      withKey(tcti, options, async (folder) => {
        const [digest, signature] = [join(folder, "digest"), join(folder, "signature")];
        await writeFile(digest, createHash("sha256").update(transcript).digest());
        const how = ["-g", "sha256", "-s", "ecdsa", "-f", "plain", "-d"];
        await run(
          tcti,
          ["tpm2_sign", "-Q", "-c", join(folder, "key.ctx"), ...how, "-o", signature, digest],
          options,
        );
        return readFile(signature);
      }),
  };
}

/** Make the key inside the TPM, work with it, forget it. The folder has what the TPM encrypted and public facts. */
async function withKey<T>(
  tcti: string,
  options: RecoveryCallOptions | undefined,
  work: (folder: string) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(await memoryFolder(), "rkl-tpm-"));
  try {
    const files = ["-c", join(folder, "key.ctx"), "-f", "der", "-o", join(folder, "public.der")];
    await run(tcti, ["tpm2_createprimary", "-Q", ...TEMPLATE, ...files], options);
    return await work(folder);
  } finally {
    // Without a resource manager each command leaves its key in one of the TPM's three places.
    await run(tcti, ["tpm2_flushcontext", "-Q", "-t"], {}).catch(() => undefined);
    await rm(folder, { recursive: true, force: true });
  }
}

async function run(
  tcti: string,
  words: readonly string[],
  options: RecoveryCallOptions | undefined,
): Promise<void> {
  const [program = "", ...args] = words;
  await runTool({ program, args, env: { TPM2TOOLS_TCTI: tcti, TSS2_LOG: "all+NONE" }, ...options });
}

/** Where files never reach a disk, if there is such a place. */
async function memoryFolder(): Promise<string> {
  try {
    await access("/dev/shm", constants.W_OK);
    return "/dev/shm";
  } catch {
    return tmpdir();
  }
}
