import { RksError } from "@rk8s/protocol";
import type { RecoveryMethod } from "../recovery/recovery-method.js";
import { DEFAULT_SSH_HOST_KEY, sshHostKey } from "../recovery/ssh-host-key.js";
import { tpm } from "../recovery/tpm.js";
import type { RecoveryChoice } from "./recovery-choice.js";

export interface RecoveryInit {
  readonly choice: RecoveryChoice;
  /** Default: OpenSSH's Ed25519 key of the host. */
  readonly sshHostKeyPath?: string | undefined;
  /** How tpm2-tools reach the TPM; default: the kernel's resource manager. */
  readonly tcti?: string | undefined;
}

/**
 * The methods of a choice in their order. One that was asked for by name must work.
 * @throws {RksError} UNSUPPORTED when it does not, with the reason.
 */
export async function chooseMethods(init: RecoveryInit): Promise<readonly RecoveryMethod[]> {
  const { choice, sshHostKeyPath = DEFAULT_SSH_HOST_KEY, tcti } = init;
  const all = [tpm({ tcti }), sshHostKey({ path: sshHostKeyPath })];
  if (choice === "auto") return all;
  const chosen = all.filter(({ kind }) => kind === choice);
  for (const method of chosen) {
    const problem = await method.problem();
    if (problem === undefined) continue;
    throw new RksError("UNSUPPORTED", `recovery by ${choice} does not work here: ${problem}`, {
      suggestion: "Make it work, or choose another way with --recovery (auto takes what there is).",
    });
  }
  return chosen;
}
