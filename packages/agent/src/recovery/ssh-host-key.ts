import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { RksError } from "@rk8s/protocol";
import type { RecoveryCallOptions, RecoveryMethod } from "./recovery-method.js";
import { runTool } from "./run-tool.js";

/** Where OpenSSH keeps the host's key. */
export const DEFAULT_SSH_HOST_KEY = "/etc/ssh/ssh_host_ed25519_key";

/** No other use of a host key has this namespace. */
const NAMESPACE = "rk8s-recover";
const ARMOR = /^-----BEGIN SSH SIGNATURE-----\s([A-Za-z0-9+/=\s]+)-----END SSH SIGNATURE-----\s*$/;

export interface SshHostKeyInit {
  /** The private key's file. Only ssh-keygen reads it. */
  readonly path: string;
}

/** The host's SSH key, by OpenSSH's ssh-keygen: this process never reads the private key. */
export function sshHostKey({ path }: SshHostKeyInit): RecoveryMethod {
  return {
    kind: "ssh-host-key",

    async problem(options) {
      try {
        await access(path, constants.R_OK);
        await readPublicKey(path, options);
        return undefined;
      } catch (reason) {
        const { code } = reason as NodeJS.ErrnoException;
        if (code === "ENOENT") return `there is no SSH host key "${path}"`;
        if (code === "EACCES") return `this user may not read the SSH host key "${path}"`;
        return RksError.from(reason).message;
      }
    },

    publicKey: async (options) => readPublicKey(path, options),

    async prove(transcript, options) {
      const args = ["-Y", "sign", "-q", "-f", path, "-n", NAMESPACE];
      const armored = await runTool({ program: "ssh-keygen", args, stdin: transcript, ...options });
      const body = ARMOR.exec(armored.toString("latin1"))?.[1];
      if (body === undefined) throw unreadable("signature");
      return Buffer.from(body, "base64");
    },
  };
}

/** From the private key, by ssh-keygen: the file beside it may be missing. An empty passphrase is the only one tried. */
async function readPublicKey(path: string, options: RecoveryCallOptions = {}): Promise<Uint8Array> {
  const args = ["-y", "-P", "", "-f", path];
  const line = (await runTool({ program: "ssh-keygen", args, ...options })).toString("latin1");
  const blob = /^\S+ ([A-Za-z0-9+/=]+)(?:\s|$)/.exec(line)?.[1];
  if (blob === undefined) throw unreadable("public key");
  return Buffer.from(blob, "base64");
}

function unreadable(what: string): RksError {
  return new RksError("UNSUPPORTED", `ssh-keygen printed no ${what}`, {
    suggestion: "Update OpenSSH to 8.2 or newer.",
  });
}
