import { FakeClock } from "@rk8s/protocol/testing";
import { memoryStorage } from "@rk8s/storage";
import { expect, test } from "vitest";
import { openVault, type Vault, type VaultInit } from "./vault.js";

async function aVault(hooks: Partial<VaultInit>): Promise<{ readonly vault: Vault; readonly share: string }> {
  const vault = await openVault({ storage: memoryStorage(), ...hooks }, { clock: new FakeClock() });
  const { shares } = await vault.init({ shares: 1, threshold: 1 });
  return { vault, share: shares[0]?.reveal() ?? "" };
}

test("what runs on the vault begins before unsealing is answered and ends before sealing, while it can be used", async () => {
  const seen: string[] = [];
  const late: { vault?: Vault } = {};
  const note = (what: string) => async (): Promise<void> => {
    await late.vault?.barrier.get("core/none");
    seen.push(`${what} ${String(late.vault?.status().sealed)}`);
  };
  const { vault, share } = await aVault({ afterUnseal: note("begins"), beforeSeal: note("ends") });
  late.vault = vault;
  await vault.unseal(share);
  expect(seen).toEqual(["begins false"]);
  await vault.unseal(share);
  await vault.seal();
  await vault.seal();
  expect(seen).toEqual(["begins false", "ends false"]);
});

test("when what runs on it cannot begin, the vault is sealed again and says why; the next try may work", async () => {
  let fails = true;
  const afterUnseal = (): Promise<void> => (fails ? Promise.reject(new Error("no port")) : Promise.resolve());
  const { vault, share } = await aVault({ afterUnseal });
  await expect(vault.unseal(share)).rejects.toThrow("no port");
  expect(vault.status().sealed).toBe(true);
  fails = false;
  expect((await vault.unseal(share)).sealed).toBe(false);
});

test("when what runs on it cannot end, the vault is sealed all the same", async () => {
  const { vault, share } = await aVault({ beforeSeal: () => Promise.reject(new Error("stuck")) });
  await vault.unseal(share);
  await vault.seal();
  expect(vault.status().sealed).toBe(true);
});

test("root authority stands in for a missing token only, never for a wrong one, and not while sealed", async () => {
  const { vault, share } = await aVault({});
  await vault.unseal(share);
  const request = { operation: "read", path: "sys/mounts" } as const;
  const denied = { code: "PERMISSION_DENIED" };
  expect(await vault.handle({ ...request, authority: "root" })).toMatchObject({ data: expect.any(Object) });
  expect(await vault.handle({ ...request, authority: "root", clientToken: "" })).toBeDefined();
  await expect(vault.handle({ ...request, authority: "root", clientToken: "hvs.x" })).rejects.toMatchObject(
    denied,
  );
  await expect(vault.handle(request)).rejects.toMatchObject(denied);
  await vault.seal();
  await expect(vault.handle({ ...request, authority: "root" })).rejects.toMatchObject({
    code: "VAULT_SEALED",
  });
});
