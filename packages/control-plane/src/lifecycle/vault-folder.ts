import { join } from "node:path";

/** Where everything in the vault folder is. */
export interface VaultFolder {
  readonly folder: string;
  /** The encrypted store, while it is here. */
  readonly store: string;
  /** A copy of the store that comes back from somewhere else. */
  readonly incomingStore: string;
  /** Where the store is when it is not here; see store/home-file.ts. */
  readonly home: string;
  /** Where initialisation builds what it then moves into place; see initialize.ts. */
  readonly staging: string;
  /** Who uses the folder; see folder-lock.ts. */
  readonly lock: string;
  /** The root certificate, PEM; public. */
  readonly rootCertificate: string;
  /** What rks shows to an external store: key and certificate in clear, PEM. */
  readonly storeClient: string;
  /** Unseal shares of an unattended start. */
  readonly keys: string;
  /** In clear, only with `keep_dangerous_files`. */
  readonly rootToken: string;
  /** In clear, only with `keep_dangerous_files`. */
  readonly rootKey: string;
  /** With an offline root: the request for its next intermediate, PEM. */
  readonly intermediateRequest: string;
  /** Where people put what the offline root has signed, PEM, while rks does not run. */
  readonly intermediate: string;
  readonly audit: string;
  /** What tells this folder from those of other control planes of the cluster. */
  readonly hostId: string;
  /** The operator socket. */
  readonly socket: string;
}

/** Names of the files that initialisation leaves in the vault folder besides the store. */
export const FILE_NAMES = {
  rootCertificate: "root.pem",
  keys: "keys.json",
  rootToken: "root_token.txt",
  rootKey: "root.key",
  storeClient: "xline-client.pem",
} as const;

const REQUEST_NAME = "intermediate.csr";

/** The layout of a vault folder. */
export function vaultFolderAt(folder: string): VaultFolder {
  return {
    folder,
    store: join(folder, "store"),
    incomingStore: join(folder, ".store-incoming"),
    home: join(folder, "storage.json"),
    staging: join(folder, ".initializing"),
    lock: join(folder, "lock"),
    rootCertificate: join(folder, FILE_NAMES.rootCertificate),
    storeClient: join(folder, FILE_NAMES.storeClient),
    keys: join(folder, FILE_NAMES.keys),
    rootToken: join(folder, FILE_NAMES.rootToken),
    rootKey: join(folder, FILE_NAMES.rootKey),
    intermediateRequest: join(folder, REQUEST_NAME),
    intermediate: join(folder, "intermediate.pem"),
    audit: join(folder, "audit.log"),
    hostId: join(folder, "host-id"),
    socket: socketPathOf(folder),
  };
}

/** The operator socket of the rks that runs on a vault folder. */
export function socketPathOf(folder: string): string {
  return join(folder, "rks.sock");
}
