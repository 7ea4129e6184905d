import { RksError } from "@rk8s/protocol";
import type { OperatorApi } from "../operator-api.js";
import { toVaultAnswer } from "../../vault/request.js";
import type { VaultStatus } from "../../vault/vault.js";

export interface FakeSeal {
  status(): VaultStatus;
  unseal?(share: string): void;
  seal?(): void;
}

/** `OperatorApi.answer` of a vault that has nothing but a seal. */
export function sealAnswers(fake: FakeSeal): OperatorApi["answer"] {
  return ({ path, operation, data = {} }) => {
    const asked = `${operation} ${path}`;
    if (asked === "update sys/unseal") fake.unseal?.(String(data["key"]));
    if (asked === "update sys/seal") {
      fake.seal?.();
      return Promise.resolve(undefined);
    }
    if (asked !== "update sys/unseal" && asked !== "read sys/seal-status") {
      return Promise.reject(new RksError("VAULT_SEALED", "the vault is sealed"));
    }
    const { type, initialized, sealed, threshold: t, shares: n, progress, version } = fake.status();
    return Promise.resolve(
      toVaultAnswer({ data: { type, initialized, sealed, t, n, progress, version }, form: "bare" }, ""),
    );
  };
}
