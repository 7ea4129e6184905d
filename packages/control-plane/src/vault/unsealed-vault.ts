import { RksError, Secret } from "@rk8s/protocol";
import type { Clock, Logger } from "@rk8s/protocol";

import type { Answer, Backend, BackendFactory, Caller, Operation } from "./backend.js";
import { mountPaths } from "./mount/mount-paths.js";
import { type BuiltInMount, Mounts } from "./mount/mounts.js";
import {
  type Access,
  type BackendPath,
  operationFor,
  type PathMatch,
  type Verb,
  PathTable,
} from "./path-table.js";
import { policyPaths } from "./policy/policy-paths.js";
import { PolicyStore } from "./policy/policy-store.js";
import type { HandledAnswer, VaultRequest } from "./request.js";
import { isWrite } from "./request.js";
import type { Barrier } from "./seal/barrier.js";
import { OPERATOR_TOKEN } from "./token/operator-token.js";
import { SPENT } from "./token/token-entry.js";
import { tokenPaths } from "./token/token-paths.js";
import { TokenStore } from "./token/token-store.js";

export interface UnsealedVaultInit {
  readonly barrier: Barrier;
  readonly engines: Readonly<Record<string, BackendFactory>>;
  readonly loginMethods: Readonly<Record<string, BackendFactory>>;
  readonly reservedMounts: readonly string[];
  readonly clock: Pick<Clock, "now">;
  readonly logger: Logger;
  /** The paths below `sys/` that the vault serves sealed as well. */
  readonly sealPaths: readonly BackendPath[];
  /** Paths below `sys/` that come from outside the vault. */
  readonly sysPaths: readonly BackendPath[];
}

/** One operation that is served, for tests and descriptions. */
export interface ServedPath {
  /** With the mount's path: `sys/mounts/*path`. */
  readonly path: string;
  readonly verb: Verb;
  readonly access: Access;
}

/** What exists only while the vault is unsealed: tokens, policies, mounts, and the way of a request through them. */
export class UnsealedVault implements AsyncDisposable {
  readonly barrier: Barrier;
  readonly mounts: Mounts;
  readonly #tokens: TokenStore;
  readonly #policies: PolicyStore;

  private constructor(parts: {
    barrier: Barrier;
    mounts: Mounts;
    tokens: TokenStore;
    policies: PolicyStore;
  }) {
    this.barrier = parts.barrier;
    this.mounts = parts.mounts;
    this.#tokens = parts.tokens;
    this.#policies = parts.policies;
  }

  /** @throws {RksError} STORAGE_CORRUPT */
  static async open(init: UnsealedVaultInit): Promise<UnsealedVault> {
    const { barrier, engines, loginMethods, reservedMounts, clock, logger } = init;
    const tokens = await TokenStore.open(barrier, clock);
    const policies = new PolicyStore(barrier);
    const system = (mounts: () => Mounts): BuiltInMount => ({
      path: "sys/",
      type: "system",
      description: "the vault itself",
      factory: () => {
        const own = [...init.sealPaths, ...policyPaths(policies), ...mountPaths(mounts()), ...init.sysPaths];
        return Promise.resolve(fixedBackend(new PathTable(own)));
      },
    });
    const token: BuiltInMount = {
      path: "auth/token/",
      type: "token",
      description: "tokens",
      factory: () => Promise.resolve(fixedBackend(tokenPaths(tokens, clock))),
    };
    const mounts = await Mounts.open({
      storage: barrier,
      engines,
      loginMethods,
      builtIn: (self) => [system(self), token],
      reserved: reservedMounts,
      logger,
    });
    return new UnsealedVault({ barrier, mounts, tokens, policies });
  }

  /** Every operation of every mount that could be opened. */
  get paths(): readonly ServedPath[] {
    return this.mounts.backends().flatMap(({ entry, backend }) =>
      backend.paths.entries.flatMap(({ pattern, operations }) =>
        Object.entries(operations).map(([verb, { access }]) => ({
          path: entry.path + pattern,
          verb: verb as Verb,
          access,
        })),
      ),
    );
  }

  /**
   * Answer a request: find who may call the path, take one use of the token, ask its policies, go. A token whose
   * last use this was is revoked when the request is over, however it ended.
   */
  async handle(request: VaultRequest): Promise<HandledAnswer | undefined> {
    const { path, data = {}, connection = {} } = request;
    const target = this.mounts.route(path);
    const match = target?.backend.paths.match(target.path);
    const found = match === undefined ? undefined : operationFor(match.entry, request.operation);
    const asked = await resolveOperation(request.operation, match);
    if (target !== undefined && match !== undefined && found?.access === "anyone" && asked !== "help") {
      const { parameters } = match;
      const { path: rest } = target;
      return found.handle({ operation: asked, path: rest, parameters, data, caller: undefined, connection });
    }
    return this.#asCaller(request, asked, found?.access === "sudo", async (caller) => {
      if (target === undefined || match === undefined || found === undefined || asked === "help") {
        // Whether a path exists is for those who hold a token.
        throw noHandler(request, target !== undefined && match !== undefined);
      }
      const { parameters } = match;
      return found.handle({ operation: asked, path: target.path, parameters, data, caller, connection });
    });
  }

  /** Dispose the mounts and seal the barrier. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.barrier.seal();
    await this.mounts[Symbol.asyncDispose]();
  }

  async #asCaller(
    request: VaultRequest,
    operation: Operation,
    needsSudo: boolean,
    action: (caller: Caller) => Promise<Answer | undefined>,
  ): Promise<Answer | undefined> {
    const { clientToken = "", path, authority } = request;
    const secret = clientToken instanceof Secret ? clientToken : new Secret(clientToken);
    const isOperator = authority === "root" && secret.reveal() === "";
    const token = isOperator ? OPERATOR_TOKEN : await this.#tokens.use(secret.reveal());
    if (token === undefined) throw denied(request);
    try {
      const acl = await this.#policies.acl(token.entry.policies);
      const decision = acl.decide({ operation, path, data: request.data });
      if (!decision.allowed || (needsSudo && !decision.sudo)) throw denied(request);
      return await action({ token, secret, hasSudo: decision.sudo });
    } finally {
      // Dead already; what cannot be deleted now, because the request sealed the vault or filled the disk, is tidied.
      if (token.entry.usesLeft === SPENT) await this.#tokens.revoke(token.hash).catch(() => undefined);
    }
  }
}

/** A backend that owns nothing. */
function fixedBackend(paths: PathTable): Backend {
  return { paths, [Symbol.asyncDispose]: () => Promise.resolve() };
}

/** Which of the two kinds of writing this is; only paths that can tell have both. */
async function resolveOperation(asked: Operation, match: PathMatch | undefined): Promise<Operation> {
  if (!isWrite(asked) || asked === "patch") return asked;
  const exists = match?.entry.exists;
  return exists !== undefined && !(await exists(match?.parameters ?? {})) ? "create" : "update";
}

/** One text for a missing, unknown, expired or spent token and for a policy that says no. */
function denied({ operation, path }: VaultRequest): RksError {
  return new RksError("PERMISSION_DENIED", `permission denied for ${operation} on "${path.slice(0, 200)}"`, {
    suggestion: "Give a token that is alive and whose policies allow this.",
  });
}

function noHandler({ operation, path }: VaultRequest, isKnown: boolean): RksError {
  const shown = path.slice(0, 200);
  if (isKnown) {
    return new RksError("UNSUPPORTED", `"${shown}" cannot be asked to ${operation}`, {
      suggestion: "Use an operation that the path has.",
    });
  }
  return new RksError("NOT_FOUND", `nothing serves "${shown}"`, {
    suggestion: `Mount an engine there, for example write sys/mounts/pki with type "pki", or correct the path.`,
  });
}
