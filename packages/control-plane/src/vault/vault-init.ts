import type { Clock, Logger, RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";

import type { LineWriter } from "./audit/audit-device.js";
import type { BackendFactory } from "./backend.js";
import type { BackendPath } from "./path-table.js";
import type { Vault } from "./vault.js";

/** What a vault is opened over, and what it has to offer. */
export interface VaultInit {
  /** The caller's to close. Belongs to the vault alone, or with `shared` to the vaults of several processes. */
  readonly storage: Storage;
  /** Whether other processes may have the same vault open over the same store, asked anew whenever it matters. Default: no. */
  readonly shared?: (() => boolean) | undefined;
  /**
   * Why the store is not this process's to use: another one has moved the vault away (STORAGE_MOVED, which seals it whenever it
   * is said), or is doing so (anything else, which seals it when it was silent for so long that nobody waits for it). Asked when
   * the store is opened, when what it says of itself changes, and after a silence. @throws as the storage does.
   */
  readonly whyLeft?: (() => Promise<RksError | undefined>) | undefined;
  /** Tells the files of this process from those of the others, for as long as they are there. Needed when the store is shared. */
  readonly host?: string | undefined;
  /** Secrets engines that can be mounted, by type. */
  readonly backends?: Readonly<Record<string, BackendFactory>>;
  /** Login methods that can be mounted below `auth/`, by type. */
  readonly loginMethods?: Readonly<Record<string, BackendFactory>>;
  /** Mounts that callers cannot make, unmount or tune, with trailing slash: `rk8s-pki/`. */
  readonly reservedMounts?: readonly string[];
  /** `Vault.sequence` as it was seen last; a store that was put back to before it is not unsealed. */
  readonly minimumSequence?: number;
  /** What `sys/health` calls the version. */
  readonly version?: string;
  /** What `sys/seal-status` calls the store, asked anew each time, and when this version was built, RFC 3339. */
  readonly storageType?: () => string;
  readonly buildDate?: string;
  /** Which cluster this is; asked only while the vault is unsealed. */
  readonly cluster?: (vault: Vault) => ClusterName;
  /** Paths below `sys/` of the program around the vault, served while it is unsealed. */
  readonly sysPaths?: readonly BackendPath[];
  /** Called when the vault has been unsealed, before that is answered. When it fails the vault is sealed again. */
  readonly afterUnseal?: () => Promise<void>;
  /** Called before an unsealed vault is sealed, while it can still be used. */
  readonly beforeSeal?: () => Promise<void>;
  /** Called when the unseal shares were replaced; gives warnings for whoever did it. */
  readonly onRekey?: () => Promise<readonly string[]>;
}

/** How a cluster is called and told from others. */
export interface ClusterName {
  readonly name: string;
  /** A UUID. */
  readonly id: string;
}

export interface VaultPorts {
  readonly clock: Clock;
  readonly logger?: Logger;
  /** Default: Math.random. */
  readonly random?: () => number;
  /** Where audit devices of type `file` with the path `stdout` write. */
  readonly stdout?: LineWriter | undefined;
}
