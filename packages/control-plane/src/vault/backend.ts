import type { Storage } from "../storage/storage.js";

/** What a caller asks of a path, in Vault's words. `create` and `update` are told apart by the path's `exists`. */
export type Operation = "read" | "create" | "update" | "delete" | "list";

/** Decoded JSON, as it comes from a request body or goes into an answer. */
export type JsonObject = { readonly [name: string]: unknown };

/** A request as a mounted backend sees it: authenticated, authorised, path relative to the mount. */
export interface BackendRequest {
  readonly operation: Operation;
  /** Relative to the mount, no leading slash: `roles/web`. */
  readonly path: string;
  readonly data: JsonObject;
  /** Who asks, for audit and templates; undefined on the backend's unauthenticated paths. */
  readonly token: { readonly accessor: string; readonly policies: readonly string[] } | undefined;
}

/** An answer in Vault's shape. Undefined instead of an answer means 204 on writes and 404 on reads. */
export interface BackendResponse {
  readonly data?: JsonObject;
  readonly warnings?: readonly string[];
}

/**
 * A secrets engine mounted at a path. One instance per mount; made when the vault is unsealed, disposed when it is
 * sealed. It keeps its state under `storagePrefix` of the barrier and nowhere else.
 */
export interface Backend extends AsyncDisposable {
  /** Paths (relative, `*` at the end allowed) that need no token. */
  readonly unauthenticatedPaths: readonly string[];
  /**
   * Whether something is there already, which makes a write an `update` instead of a `create`. Without this method
   * every write is an `update`.
   */
  exists?(path: string): Promise<boolean>;
  /** @throws {RksError} whatever refuses the request. */
  handle(request: BackendRequest): Promise<BackendResponse | undefined>;
}

export interface MountInit {
  /** With trailing slash: `pki/`. */
  readonly path: string;
  readonly type: string;
  /** Where the mount's keys live in the barrier, with trailing slash: `logical/<uuid>/`. */
  readonly storagePrefix: string;
  /** Seconds; what leases and certificates of the mount are bounded by. */
  readonly defaultTtlSeconds: number;
  readonly maxTtlSeconds: number;
}

/** How the vault makes the backend of a mount type, for example `pki`. The barrier is unsealed at that moment. */
export type BackendFactory = (mount: MountInit, barrier: Storage) => Promise<Backend>;
