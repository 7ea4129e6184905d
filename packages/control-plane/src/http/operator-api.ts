import type { Secret, Stream } from "@rk8s/protocol";
import type { ChainHead } from "../audit/chain-link.js";
import type { Authority, Question } from "../server/authority.js";
import type { Connection } from "../vault/backend.js";
import type { TokenHolder } from "../vault/request-pipeline.js";
import type { VaultAnswer, VaultRequest } from "../vault/request.js";
import type { BackupHeader } from "../backup/backup-file.js";
import type { StoreConfig } from "../config/config.js";
import type { StoreFilesOwner } from "../lifecycle/serving.js";
import type { StoreStatus } from "../lifecycle/vault-stores.js";
import type { StoreReport } from "../store/verify-store.js";
import type { UnattendedStart } from "../lifecycle/unattended-start.js";
import type { VaultStatus } from "../vault/vault.js";
import type { CreatedJoinToken, JoinTokenRequest, JoinTokenSummary } from "../join/join-token-store.js";

import type { RotationStep } from "../pki/cluster-rotation.js";
import type { IntermediateRequest, StepOptions } from "../trust/ca-rotation.js";

/** Where a running control plane serves. Null: it does not serve there now. */
export interface Endpoints {
  readonly quic: string | null;
  readonly http: string | null;
  readonly socket: string;
}

/** Who asks, for the audit log. */
interface ActorOption {
  readonly actor: string;
}

/** How a stream that came over HTTP is served. */
interface HttpStreamOptions {
  readonly authority: Authority;
  readonly signal: AbortSignal;
}

/** What the routes ask of the cluster, which exists while the vault is unsealed. `Cluster` is one. */
export interface OperatorCluster {
  readonly joinTokens: {
    create(request: JoinTokenRequest, options: ActorOption): Promise<CreatedJoinToken>;
    list(): Promise<readonly JoinTokenSummary[]>;
    revoke(id: string, options: ActorOption): Promise<JoinTokenSummary>;
  };
  readonly nodes: {
    list(): Promise<readonly object[]>;
    show(name: string): Promise<object>;
    rejoin(name: string, options: ActorOption): Promise<CreatedJoinToken>;
    evict(name: string, options: ActorOption): Promise<unknown>;
    ban(name: string, options: ActorOption & { readonly reason?: string | undefined }): Promise<unknown>;
    unban(name: string, options: ActorOption): Promise<unknown>;
    requireRenewal(name: string, options: ActorOption & { readonly reason: string }): Promise<unknown>;
  };
  readonly ca: {
    status(): Promise<object>;
    step(step: RotationStep, options: StepOptions): Promise<object>;
    request(options: ActorOption & { readonly fresh?: boolean | undefined }): Promise<IntermediateRequest>;
  };
  /** Answer the messages of one stream as an operator's. */
  serveStream(stream: Stream, options: HttpStreamOptions): Promise<void>;
  /** Do what an operator asks, when the policies allow it. @throws {RksError} PERMISSION_DENIED, and what the work throws. */
  asOperator<T>(authority: Authority, question: Question, work: () => Promise<T>): Promise<T>;
}

/** What the HTTP routes ask of the control plane. */
export interface OperatorApi {
  readonly endpoints: Endpoints;
  readonly startedAt: string;
  readonly rootCertificateFile: string;
  /** `host:port` that an agent on another host can use. @throws {RksError} VAULT_SEALED. */
  agentAddress(): string;
  sealStatus(): VaultStatus;
  /** Whether the next start opens the vault by itself. */
  unattendedStart(): Promise<UnattendedStart>;
  /** Where the store is. */
  storeStatus(): StoreStatus;
  /** Begin to move the store. @throws {RksError} VAULT_SEALED, BUSY, ALREADY_EXISTS, STORAGE_FOREIGN. */
  migrateStore(to: StoreConfig, options: ActorOption): Promise<StoreStatus>;
  /** Make the files of a member of the store, or of another host. Gives their folder. @throws {RksError} VAULT_SEALED, INPUT_INVALID. */
  makeStoreFiles(whose: StoreFilesOwner): Promise<string>;
  /** Write a backup into a file. @throws {RksError} VAULT_SEALED, BUSY, ALREADY_EXISTS, STORAGE_UNWRITABLE. */
  backupStore(file: string, options: ActorOption & { readonly signal: AbortSignal }): Promise<BackupHeader>;
  /** Read and check every entry of the store. @throws {RksError} VAULT_SEALED. */
  verifyStore(signal: AbortSignal): Promise<StoreReport>;
  /** Whether agents are served. */
  readonly isServing: boolean;
  /** Whether agents are served by a control plane that its store does not answer: nothing can be issued. */
  readonly isCutOff: boolean;
  /** Answer a request to the vault, sealed or not. @throws {RksError} as `Vault.answer`. */
  answer(request: VaultRequest): Promise<VaultAnswer | undefined>;
  /** Whose a token of the vault is; takes one use of it. Undefined: it is not alive. @throws {RksError} VAULT_SEALED. */
  tokenHolder(token: Secret<string>, connection: Connection): Promise<TokenHolder | undefined>;
  /** The last record of the cluster's audit log. @throws {RksError} VAULT_SEALED. */
  auditHead(): ChainHead;
  /** @throws {RksError} VAULT_SEALED. */
  cluster(): OperatorCluster;
}
