import { type Clock, RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { z } from "zod";

import type { Answer, BackendFactory, JsonObject, MountInit } from "../../vault/backend.js";
import { requiredText } from "../../vault/field-types.js";
import { type BackendPath, operation, PathTable } from "../../vault/path-table.js";
import { toLoginGrant } from "../../vault/token/token-parameters.js";
import { roleName, rolePaths } from "../role-paths.js";
import { StoredRecords } from "../stored-records.js";
import {
  configFields,
  describeConfig,
  type KubernetesConfig,
  kubernetesConfig,
  readConfig,
} from "./kubernetes-config.js";
import {
  assertBound,
  describeRole,
  type KubernetesRole,
  kubernetesRole,
  readRole,
  roleFields,
} from "./kubernetes-role.js";
import { assertClaims, readToken, type ServiceAccount, verifyToken } from "./service-account-token.js";
import { TokenReviewer } from "./token-review.js";

const CONFIG = "config";

/**
 * The `kubernetes` login method: pods log in with the token of their service account. With `pem_keys` the token is checked
 * here, without them the Kubernetes API server is asked. Paths, fields and answers are Vault's.
 */
export function kubernetesLogin(ports: { readonly clock: Clock }): BackendFactory {
  return (mount, storage) => Promise.resolve(new KubernetesBackend(mount, storage, ports.clock));
}

class KubernetesBackend {
  readonly paths: PathTable;
  readonly #clock: Clock;
  readonly #configs: StoredRecords<KubernetesConfig>;
  readonly #roles: StoredRecords<KubernetesRole>;
  readonly #reviewer: TokenReviewer;

  constructor(mount: MountInit, storage: Storage, clock: Clock) {
    this.#clock = clock;
    this.#configs = new StoredRecords(storage, mount.storagePrefix, kubernetesConfig);
    this.#roles = new StoredRecords(storage, `${mount.storagePrefix}role/`, kubernetesRole);
    this.#reviewer = new TokenReviewer(clock);
    this.paths = new PathTable([
      this.#loginPath(),
      this.#configPath(),
      ...rolePaths({
        folder: "role",
        records: this.#roles,
        fields: roleFields,
        read: (fields, stored) => ({ record: readRole(fields, stored) }),
        describe: describeRole,
      }),
    ]);
  }

  async renewLogin(renewal: JsonObject): Promise<void> {
    const kept = z.object({ role: z.string(), name: z.string(), namespace: z.string() }).parse(renewal);
    const role = await this.#roles.read(kept.role);
    if (role === undefined) {
      throw new RksError("PERMISSION_DENIED", `role "${kept.role}" of this login does not exist any more`, {
        suggestion: "Log in again with another role.",
      });
    }
    assertBound(role.record, kept);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  #configPath(): BackendPath {
    return {
      pattern: CONFIG,
      operations: {
        read: operation({
          summary: "Read how tokens of service accounts are checked.",
          handle: async () => {
            const stored = await this.#configs.read(CONFIG);
            return stored === undefined ? undefined : { data: describeConfig(stored.record) };
          },
        }),
        update: operation({
          summary: "Choose how tokens of service accounts are checked.",
          fields: configFields,
          handle: async ({ fields }) => {
            const config = readConfig(fields);
            await this.#configs.storage.transaction([], [this.#configs.put(CONFIG, config)]);
            return undefined;
          },
        }),
      },
    };
  }

  #loginPath(): BackendPath {
    return {
      pattern: "login",
      operations: {
        update: operation({
          access: "anyone",
          summary: "Log in with the token of a service account.",
          fields: z.object({ role: requiredText(), jwt: requiredText() }),
          handle: ({ fields }) => this.#logIn(fields.role, fields.jwt),
        }),
      },
    };
  }

  /** What costs little comes first; the API server is asked only about tokens that it could make good. */
  async #logIn(name: string, jwt: string): Promise<Answer> {
    const role = (await this.#roles.read(roleName(name)))?.record;
    if (role === undefined) {
      throw new RksError("INPUT_INVALID", `invalid role name "${name}"`, {
        suggestion: "Name a role that exists.",
      });
    }
    const config = (await this.#configs.read(CONFIG))?.record;
    if (config === undefined) {
      throw new RksError("INPUT_INVALID", "could not load backend configuration", {
        suggestion: "Write config with pem_keys or kubernetes_host first.",
      });
    }
    const token = await readToken(jwt);
    const { account } = token;
    const { audience } = role;
    const expectation = { config, audience, nowMs: this.#clock.now() };
    if (config.pemKeys.length > 0) {
      await verifyToken(jwt, expectation);
      assertBound(role, account);
    } else {
      assertClaims(token, expectation);
      assertBound(role, account);
      await this.#reviewer.review(jwt, { config, account, audience });
    }
    return { login: grant(name, role, account) };
  }
}

function grant(
  roleOf: string,
  role: KubernetesRole,
  { name, namespace, uid, secretName }: ServiceAccount,
): NonNullable<Answer["login"]> {
  return toLoginGrant(role.token, {
    displayName: `${namespace}-${name}`,
    aliasName: role.aliasNameSource === "serviceaccount_uid" ? uid : `${namespace}/${name}`,
    metadata: {
      role: roleOf,
      service_account_name: name,
      service_account_namespace: namespace,
      service_account_secret_name: secretName,
      service_account_uid: uid,
    },
    renewal: { role: roleOf, name, namespace },
  });
}
