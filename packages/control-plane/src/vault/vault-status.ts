import type { SealConfig, UnsealAttempt } from "./seal/seal.js";
import type { ClusterName } from "./vault-init.js";

/** How a vault is, for anyone who asks. */
export interface VaultStatus {
  readonly type: SealConfig["type"];
  readonly initialized: boolean;
  readonly sealed: boolean;
  /** How many shares unsealing takes, and how many there are; 0 before the initialisation. */
  readonly threshold: number;
  readonly shares: number;
  /** Shares given towards the present attempt, and the attempt's name. */
  readonly progress: number;
  readonly nonce: string;
  readonly version: string;
  readonly buildDate: string;
  readonly storageType: string;
  /** Undefined while sealed. */
  readonly cluster: ClusterName | undefined;
}

/** What a status is made of besides the seal. */
export interface StatusFacts {
  /** None: the vault is not initialised. */
  readonly config: SealConfig | undefined;
  /** None unless the vault is sealed. */
  readonly attempt: Pick<UnsealAttempt, "progress" | "nonce"> | undefined;
  readonly sealed: boolean;
  readonly version: string | undefined;
  readonly buildDate: string | undefined;
  readonly storageType: string | undefined;
  readonly cluster: ClusterName | undefined;
}

/** Put a status together; what is not known is empty. */
export function vaultStatus({ config, attempt, sealed, cluster, ...about }: StatusFacts): VaultStatus {
  return {
    type: config?.type ?? "shamir",
    initialized: config !== undefined,
    sealed,
    threshold: config?.threshold ?? 0,
    shares: config?.shares ?? 0,
    progress: attempt?.progress ?? 0,
    nonce: attempt?.nonce ?? "",
    version: about.version ?? "0.0.0",
    buildDate: about.buildDate ?? "",
    storageType: about.storageType ?? "",
    cluster,
  };
}
