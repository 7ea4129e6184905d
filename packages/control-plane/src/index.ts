export { parseConfig } from "./config/parse-config.js";
export type { ParsedConfig } from "./config/parse-config.js";
export { readConfig } from "./config/config-file.js";
export type {
  CertificateConfig,
  ControlPlaneConfig,
  ExternalStoreConfig,
  HeartbeatConfig,
  HostPort,
  HttpTlsConfig,
  SealConfig,
  StoreConfig,
} from "./config/config.js";
export type { RestoreResult } from "./backup/restore-backup.js";
export { approleLogin } from "./auth/approle/approle-backend.js";
export { certLogin } from "./auth/cert/cert-backend.js";
export { joinTokenLogin } from "./auth/join-token/join-token-backend.js";
export type { JoinTokenLoginPorts } from "./auth/join-token/join-token-backend.js";
export type { JoinTokenFacts, JoinTokenKeys } from "./auth/join-token/join-token-keys.js";
export { kubernetesLogin } from "./auth/kubernetes/kubernetes-backend.js";
export { kvBackend } from "./engines/kv/kv-backend.js";
export { ControlPlane, createControlPlane } from "./control-plane.js";
export type { ControlPlanePorts } from "./control-plane.js";
export { initializeControlPlane } from "./initialize-control-plane.js";
export type { InitializeControlPlanePorts } from "./initialize-control-plane.js";
export type { Endpoints } from "./http/operator-api.js";
export type { JoinCheck, JoinCheckRequest, JoinCheckToken } from "./join/join-check.js";
export type { InitializationResult } from "./lifecycle/initialize.js";
export { openVault } from "./open-vault.js";
export type { OpenVaultPorts } from "./open-vault.js";
export { RksError, Secret } from "@rk8s/protocol";
export type { RootGenerateRequest } from "./pki/authority/ca-fields.js";
export { pkiBackend } from "./pki/pki-backend.js";
export { IssueCertificateResponse } from "./pki/issuance/issue-response.js";
export type {
  CertificateNamesRequest,
  IssueCertificateRequest,
  RoleRequest,
  SignCertificateRequest,
  SignVerbatimRequest,
} from "./pki/requests.js";
export { restoreControlPlane } from "./restore-control-plane.js";
export type { RestoreControlPlanePorts, RestoreRequest } from "./restore-control-plane.js";
export { stayControlPlane } from "./stay-control-plane.js";
export type { StayPorts, StayRequest, StayResult } from "./stay-control-plane.js";
export type { StoreOpeners } from "./store/choose-store.js";
export { openLmdbStorage } from "@rk8s/storage/lmdb";
export type { LmdbStorageInit } from "@rk8s/storage/lmdb";
export { memoryStorage } from "@rk8s/storage";
export type {
  Change,
  Comparison,
  Entry,
  ListRange,
  Page,
  Storage,
  TransactionResult,
  Write,
} from "@rk8s/storage";
export type { LineWriter } from "./vault/audit/audit-device.js";
export type {
  Answer,
  Backend,
  BackendFactory,
  Caller,
  Connection,
  JsonObject,
  LeaseGrant,
  LoginGrant,
  MountInit,
  Operation,
  PathRequest,
  RawAnswer,
} from "./vault/backend.js";
export { operation, PathTable } from "./vault/path-table.js";
export type {
  Access,
  BackendPath,
  OperationInit,
  PathMatch,
  PathOperation,
  Verb,
} from "./vault/path-table.js";
export { createKeyFile, readKeyFile } from "./vault/seal/key-file.js";
export type { VaultAnswer, VaultAuth, VaultRequest, VaultResponse, VaultWrapInfo } from "./vault/request.js";
export { Vault } from "./vault/vault.js";
export type {
  ClientToken,
  InitOptions,
  InitResult,
  VaultInit,
  VaultPorts,
  VaultStatus,
} from "./vault/vault.js";
