import { RksError, silentLogger } from "@rk8s/protocol";
import { Metrics } from "../metrics.js";
import type { OperatorApi } from "../operator-api.js";
import type { VaultStatus } from "../../vault/vault.js";
import type { HttpListenerPorts } from "../http-listener.js";
import { sealAnswers } from "./seal-answers.js";

export const UNSEALED: VaultStatus = {
  initialized: true,
  sealed: false,
  type: "shamir",
  threshold: 1,
  shares: 1,
  progress: 0,
  nonce: "",
  version: "1.2.3",
  buildDate: "",
  storageType: "memory",
  cluster: undefined,
};

/** An API whose every part can be replaced; without one it has no cluster and no vault behind its seal. */
export function anApi(parts: Partial<OperatorApi> = {}): OperatorApi {
  return {
    endpoints: { quic: "127.0.0.1:5", http: null, socket: "/none" },
    startedAt: "2026-11-21T00:00:00.000Z",
    rootCertificateFile: "/data/root.pem",
    agentAddress: () => "127.0.0.1:5",
    sealStatus: () => UNSEALED,
    unattendedStart: () => Promise.resolve("ready"),
    isServing: true,
    isCutOff: false,
    storeStatus: () => ({
      type: "local",
      store: "the vault folder",
      members: [],
      epoch: 0,
      restoredFrom: null,
      gaveUp: null,
      movedTo: null,
      migration: null,
    }),
    migrateStore: () => Promise.reject(new RksError("VAULT_SEALED", "the vault is sealed")),
    makeStoreFiles: () => Promise.reject(new RksError("VAULT_SEALED", "the vault is sealed")),
    backupStore: () => Promise.reject(new RksError("VAULT_SEALED", "the vault is sealed")),
    verifyStore: () => Promise.reject(new RksError("VAULT_SEALED", "the vault is sealed")),
    answer: sealAnswers({ status: () => UNSEALED }),
    auditHead: () => ({ sequence: 0, sha256: "0".repeat(64) }),
    tokenHolder: () => Promise.resolve(undefined),
    cluster: () => {
      throw new RksError("VAULT_SEALED", "the vault is sealed");
    },
    ...parts,
  };
}

/** Ports of a listener that nobody looks at. */
export function listenerPorts(): HttpListenerPorts {
  return {
    logger: silentLogger,
    metrics: new Metrics({
      isSealed: () => false,
      isServing: () => true,
      figures: () => undefined,
      now: Date.now,
    }),
  };
}
