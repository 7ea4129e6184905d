import { createHash } from "node:crypto";
import type { ConnectionLimits, Credentials } from "@rk8s/protocol";
import { buildEndpointConfig } from "./native-config.js";
import type { EndpointConfig } from "./native-config.js";
import type { NativeQuiche } from "./native-binding.js";

export interface DialConfigInit {
  readonly roots: readonly Uint8Array[];
  readonly credentials?: Credentials | undefined;
  readonly alpn: string;
  readonly limits: Required<ConnectionLimits>;
}

/** Configurations without credentials that are kept; a process dials few clusters. */
const MAX_ANONYMOUS = 8;

/**
 * Remember the native configurations of dials, so that whoever dials again pays for the handshake only. Those with
 * credentials live as long as the `Credentials` object: drop it and the native key goes too. As its key bytes
 * are wiped by the first use, dialling again with the same object works only because of this.
 */
export class DialConfigs {
  readonly #quiche: NativeQuiche;
  readonly #anonymous = new Map<string, EndpointConfig>();
  readonly #byCredentials = new WeakMap<Credentials, Map<string, EndpointConfig>>();

  constructor(quiche: NativeQuiche) {
    this.#quiche = quiche;
  }

  /** Find or build. @throws {RksError} CONFIG_INVALID as `buildEndpointConfig` does. */
  configFor(init: DialConfigInit): EndpointConfig {
    const { credentials } = init;
    const known = credentials === undefined ? this.#anonymous : this.#byCredentials.get(credentials);
    const key = digestOf(init);
    const isWiped = credentials === undefined || credentials.privateKey.every((byte) => byte === 0);
    const found = isWiped ? known?.get(key) : undefined;
    if (found !== undefined) return found;
    const config = buildEndpointConfig(this.#quiche, { ...init, verify: "require", alpn: [init.alpn] });
    if (credentials === undefined) this.#keepAnonymous(key, config);
    else this.#byCredentials.set(credentials, new Map(known).set(key, config));
    return config;
  }

  #keepAnonymous(key: string, config: EndpointConfig): void {
    for (const oldest of this.#anonymous.keys()) {
      if (this.#anonymous.size < MAX_ANONYMOUS) break;
      this.#anonymous.delete(oldest);
    }
    this.#anonymous.set(key, config);
  }
}

/** Everything but the credentials that decides what a configuration is. */
function digestOf(init: DialConfigInit): string {
  const hash = createHash("sha256");
  hash.update(JSON.stringify([init.alpn, init.limits, init.roots.map((der) => der.length)]));
  for (const der of init.roots) hash.update(der);
  return hash.digest("base64");
}
