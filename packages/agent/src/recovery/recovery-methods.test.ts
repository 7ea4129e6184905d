import { spawnSync } from "node:child_process";
import { createPublicKey, verify } from "node:crypto";
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { utf8 } from "@rk8s/protocol";
import { afterAll, describe, expect, test } from "vitest";
import { SoftwareTpm } from "../testing/software-tpm.js";
import { sshHostKey } from "./ssh-host-key.js";
import { tpm } from "./tpm.js";

const folder = mkdtempSync(join(tmpdir(), "rk8s-recovery-"));
afterAll(() => rmSync(folder, { recursive: true }));
const TRANSCRIPT = utf8("what a machine signs");

describe("the SSH host key", () => {
  const path = join(folder, "ssh_host_ed25519_key");
  spawnSync("ssh-keygen", ["-q", "-N", "", "-t", "ed25519", "-f", path]);
  const method = sshHostKey({ path });

  test("gives the same public key every time, also without the file beside it", async () => {
    const first = await method.publicKey();
    rmSync(`${path}.pub`);
    expect(await method.publicKey()).toEqual(first);
    expect(first.subarray(4, 15).toString()).toBe("ssh-ed25519");
    expect(await method.problem()).toBeUndefined();
  });

  test("signs in binary form for its namespace", async () => {
    const signature = Buffer.from(await method.prove(TRANSCRIPT));
    expect(signature.subarray(0, 6).toString()).toBe("SSHSIG");
    expect(signature.includes("rk8s-recover")).toBe(true);
    expect(signature.includes(Buffer.from(await method.publicKey()))).toBe(true);
  });

  test("that is not there is said to be so", async () => {
    const missing = sshHostKey({ path: join(folder, "none") });
    expect(await missing.problem()).toContain("there is no SSH host key");
    await expect(missing.prove(TRANSCRIPT)).rejects.toMatchObject({ code: "UNSUPPORTED" });
  });

  test("with a passphrase cannot be used, and nobody is asked for it", async () => {
    const locked = join(folder, "locked");
    spawnSync("ssh-keygen", ["-q", "-N", "secret words", "-t", "ed25519", "-f", locked]);
    expect(await sshHostKey({ path: locked }).problem()).toContain("passphrase");
    await expect(sshHostKey({ path: locked }).prove(TRANSCRIPT)).rejects.toMatchObject({
      code: "UNSUPPORTED",
    });
  });

  test("that is no key, or that everybody may read, cannot be used", async () => {
    const garbage = join(folder, "garbage");
    writeFileSync(garbage, "not a key", { mode: 0o600 });
    expect(await sshHostKey({ path: garbage }).problem()).toMatch(/ssh-keygen/);
    const open = join(folder, "open");
    spawnSync("ssh-keygen", ["-q", "-N", "", "-t", "ed25519", "-f", open]);
    chmodSync(open, 0o644);
    expect(await sshHostKey({ path: open }).problem()).toMatch(/ssh-keygen/);
  });

  test("is given up when the agent stops", async () => {
    const signal = AbortSignal.abort(new Error("stopped"));
    await expect(method.prove(TRANSCRIPT, { signal })).rejects.toThrow("stopped");
  });
});

function temporaryFolders(): string[] {
  return readdirSync("/dev/shm").filter((name) => name.startsWith("rkl-tpm-"));
}

describe("the TPM", () => {
  test("gives the same key after it was switched off and on, and signs with it", async () => {
    const state = mkdtempSync(join(folder, "tpm-"));
    let publicKey: Uint8Array;
    {
      await using device = await SoftwareTpm.start(state);
      const method = tpm(device);
      expect(await method.problem()).toBeUndefined();
      publicKey = await method.publicKey();
    }
    await using device = await SoftwareTpm.start(state);
    const method = tpm(device);
    const before = temporaryFolders();
    expect(await method.publicKey()).toEqual(publicKey);
    const key = createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" });
    // More often than the TPM has places for keys.
    for (let i = 0; i < 4; i++) {
      expect(verify("sha256", TRANSCRIPT, key, await method.prove(TRANSCRIPT))).toBe(true);
    }
    expect(temporaryFolders()).toEqual(before);
  });

  test("of another machine gives another key", async () => {
    await using one = await SoftwareTpm.start(mkdtempSync(join(folder, "tpm-")));
    await using other = await SoftwareTpm.start(mkdtempSync(join(folder, "tpm-")));
    expect(await tpm(one).publicKey()).not.toEqual(await tpm(other).publicKey());
  });

  test("that is not there is said to be so", async () => {
    const missing = tpm({ tcti: "swtpm:host=127.0.0.1,port=1" });
    expect(await missing.problem()).toContain("tpm2_createprimary");
    await expect(missing.prove(TRANSCRIPT)).rejects.toMatchObject({ code: "UNSUPPORTED" });
  });
});
