import { RksError, Secret } from "@rk8s/protocol";
import type { Clock, Logger } from "@rk8s/protocol";

import type { Backend, BackendFactory, Operation } from "./backend.js";
import type { Barrier } from "./seal/barrier.js";
import { mountRoutes } from "./mount/mount-routes.js";
import { Mounts } from "./mount/mounts.js";
import { policyRoutes } from "./policy/policy-routes.js";
import { PolicyStore } from "./policy/policy-store.js";
import { isWrite } from "./request.js";
import type { Answer, VaultRequest } from "./request.js";
import { findRoute, isKnownPath, restOf } from "./route.js";
import type { Caller, Route } from "./route.js";
import { SPENT } from "./token/token-entry.js";
import { tokenRoutes } from "./token/token-routes.js";
import { TokenStore } from "./token/token-store.js";

export interface UnsealedVaultInit {
  readonly barrier: Barrier;
  readonly factories: Readonly<Record<string, BackendFactory>>;
  readonly reservedMounts: readonly string[];
  readonly clock: Pick<Clock, "now">;
  readonly logger: Logger;
  /** The routes that the vault serves sealed as well. */
  readonly routes: readonly Route[];
}

/** What exists only while the vault is unsealed: tokens, policies, mounts, and the way of a request through them. */
export class UnsealedVault implements AsyncDisposable {
  readonly barrier: Barrier;
  readonly mounts: Mounts;
  readonly #tokens: TokenStore;
  readonly #policies: PolicyStore;
  readonly #clock: Pick<Clock, "now">;
  readonly #routes: readonly Route[];

  private constructor(init: UnsealedVaultInit, tokens: TokenStore, mounts: Mounts) {
    this.barrier = init.barrier;
    this.mounts = mounts;
    this.#clock = init.clock;
    this.#tokens = tokens;
    this.#policies = new PolicyStore(init.barrier);
    this.#routes = [
      ...init.routes,
      ...tokenRoutes(tokens),
      ...policyRoutes(this.#policies),
      ...mountRoutes(mounts),
    ];
  }

  /** @throws {RksError} STORAGE_CORRUPT */
  static async open(init: UnsealedVaultInit): Promise<UnsealedVault> {
    const { barrier, factories, reservedMounts, clock, logger } = init;
    const tokens = await TokenStore.open(barrier, clock);
    const mounts = await Mounts.open({ storage: barrier, factories, reserved: reservedMounts, logger });
    return new UnsealedVault(init, tokens, mounts);
  }

  /** The table of the vault's own paths: who may call what. Engines have theirs. */
  get routes(): readonly Route[] {
    return this.#routes;
  }

  /**
   * Answer a request: find who may call the path, take one use of the token, ask its policies, go. A token whose
   * last use this was is revoked when the request is over, however it ended.
   */
  async handle(request: VaultRequest): Promise<Answer | undefined> {
    const { operation, path } = request;
    const route = findRoute(this.#routes, operation, path);
    if (route !== undefined) {
      const rest = restOf(route, path) ?? "";
      const { data = {} } = request;
      if (route.access === "anyone") {
        return route.handle({ operation, rest, data, nowMs: this.#clock.now(), caller: undefined });
      }
      const asked = operation === "create" ? "update" : operation;
      return this.#asCaller(
        request,
        () => Promise.resolve(asked),
        route.access === "sudo",
        (caller) => route.handle({ operation, rest, data, nowMs: this.#clock.now(), caller }),
      );
    }
    return this.#handleMounted(request);
  }

  /** Dispose the mounts and seal the barrier. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.barrier.seal();
    await this.mounts[Symbol.asyncDispose]();
  }

  async #handleMounted(request: VaultRequest): Promise<Answer | undefined> {
    const target = this.mounts.route(request.path);
    if (target === undefined) {
      // Whether a path exists is for those who hold a token.
      return this.#asCaller(
        request,
        () => Promise.resolve(request.operation),
        false,
        () => {
          throw noHandler(request, isKnownPath(this.#routes, request.path));
        },
      );
    }
    const { backend, path } = target;
    if (isUnauthenticated(backend, path)) {
      const operation = isWrite(request.operation) ? "update" : request.operation;
      return backend.handle({ operation, path, data: request.data ?? {}, token: undefined });
    }
    let operation: Operation = request.operation;
    const decide = async (): Promise<Operation> => {
      if (isWrite(operation)) operation = (await backend.exists?.(path)) === false ? "create" : "update";
      return operation;
    };
    return this.#asCaller(request, decide, false, ({ token }) => {
      const { accessor, policies } = token.entry;
      const data = request.data ?? {};
      return backend.handle({ operation, path, data, token: { accessor, policies } });
    });
  }

  async #asCaller(
    request: VaultRequest,
    operation: () => Promise<Operation>,
    needsSudo: boolean,
    action: (caller: Caller) => Promise<Answer | undefined> | Answer | undefined,
  ): Promise<Answer | undefined> {
    const { clientToken, path } = request;
    const secret = clientToken instanceof Secret ? clientToken.reveal() : (clientToken ?? "");
    const token = await this.#tokens.use(secret);
    if (token === undefined) throw denied(request);
    try {
      const acl = await this.#policies.acl(token.entry.policies);
      const decision = acl.decide(await operation(), path);
      if (!decision.allowed || (needsSudo && !decision.sudo)) throw denied(request);
      return await action({ token, secret, hasSudo: decision.sudo });
    } finally {
      // Dead already; what cannot be deleted now, because the request sealed the vault or filled the disk, is tidied.
      if (token.entry.usesLeft === SPENT) await this.#tokens.revoke(token.hash).catch(() => undefined);
    }
  }
}

function isUnauthenticated(backend: Backend, path: string): boolean {
  return backend.unauthenticatedPaths.some((open) =>
    open.endsWith("*") ? path.startsWith(open.slice(0, -1)) : path === open,
  );
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
  return new RksError("NOT_FOUND", `no engine is mounted at "${shown}"`, {
    suggestion: `Mount one first, for example write sys/mounts/pki with type "pki".`,
  });
}
