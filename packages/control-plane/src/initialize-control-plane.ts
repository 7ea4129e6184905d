import { systemClock } from "@rk8s/host";
import type { Clock, Logger } from "@rk8s/protocol";
import { openLmdbStorage } from "@rk8s/storage/lmdb";
import type { ControlPlaneConfig } from "./config/config.js";
import { initialize, type InitializationResult } from "./lifecycle/initialize.js";

export interface InitializeControlPlanePorts {
  readonly clock?: Clock | undefined;
  readonly logger?: Logger | undefined;
}

/**
 * Initialise the vault of a config, once: what `rks gen certs` does.
 * @throws {RksError} ALREADY_RUNNING, ALREADY_EXISTS, CONFIG_INVALID, STORAGE_FULL, STORAGE_UNWRITABLE.
 */
export async function initializeControlPlane(
  config: ControlPlaneConfig,
  ports: InitializeControlPlanePorts = {},
): Promise<InitializationResult> {
  return initialize(config, {
    clock: ports.clock ?? systemClock,
    logger: ports.logger,
    openStorage: (folder) => openLmdbStorage({ folder }),
  });
}
