import type { Clock } from "@rk8s/protocol";

import { approleLogin } from "./auth/approle/approle-backend.js";
import { certLogin } from "./auth/cert/cert-backend.js";
import { kubernetesLogin } from "./auth/kubernetes/kubernetes-backend.js";
import { kvBackend } from "./engines/kv/kv-backend.js";
import { pkiBackend } from "./pki/pki-backend.js";
import type { BackendFactory } from "./vault/backend.js";

/** The secrets engines that users can mount, by type. */
export function secretsEngines(ports: { readonly clock: Clock }): Readonly<Record<string, BackendFactory>> {
  return { pki: pkiBackend(ports), kv: kvBackend(ports) };
}

/** The login methods that users can mount below `auth/`, by type. */
export function loginMethods(ports: { readonly clock: Clock }): Readonly<Record<string, BackendFactory>> {
  return { approle: approleLogin(ports), kubernetes: kubernetesLogin(ports), cert: certLogin(ports) };
}
