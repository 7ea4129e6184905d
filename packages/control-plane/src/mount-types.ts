import type { Clock } from "@rk8s/protocol";

import { kvBackend } from "./engines/kv/kv-backend.js";
import { pkiBackend } from "./pki/pki-backend.js";
import type { BackendFactory } from "./vault/backend.js";

/** The secrets engines that users can mount, by type. */
export function secretsEngines(ports: { readonly clock: Clock }): Readonly<Record<string, BackendFactory>> {
  return { pki: pkiBackend(ports), kv: kvBackend(ports) };
}
