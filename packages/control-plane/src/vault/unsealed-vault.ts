import { RksError } from "@rk8s/protocol";
import type { Clock, Logger, Secret } from "@rk8s/protocol";

import { type AuditBroker, openAuditBroker } from "./audit/audit-broker.js";
import type { LineWriter } from "./audit/audit-device.js";
import { auditPaths } from "./audit/audit-paths.js";
import type { Backend, BackendFactory, Connection, JsonObject } from "./backend.js";
import { EntityStore } from "./identity/entity-store.js";
import { identityPaths } from "./identity/identity-paths.js";
import { Expirer } from "./lease/expirer.js";
import { leasePaths } from "./lease/lease-paths.js";
import { LEASE_EXPIRY_PREFIX, readTimeKey } from "./lease/lease-keys.js";
import { LeaseStore } from "./lease/lease-store.js";
import { revokeLeases } from "./lease/revoke-leases.js";
import type { Sharing } from "./members/sharing.js";
import { mountPaths } from "./mount/mount-paths.js";
import { effectiveTtls } from "./mount/mount-settings.js";
import type { MountEntry } from "./mount/mount-table.js";
import { type BuiltInMount, Mounts } from "./mount/mounts.js";
import { OneAtATime } from "./one-at-a-time.js";
import { type Access, type BackendPath, PathTable, type Verb } from "./path-table.js";
import type { Acl } from "./policy/acl.js";
import { policyPaths } from "./policy/policy-paths.js";
import { PolicyStore } from "./policy/policy-store.js";
import type { CanonicalRequest, HandledAnswer } from "./request.js";
import { RequestPipeline, type TokenHolder } from "./request-pipeline.js";
import type { Barrier } from "./seal/barrier.js";
import { aclOfToken } from "./sys/acl-of-token.js";
import { capabilityPaths } from "./sys/capability-paths.js";
import { describingPaths } from "./sys/describing-paths.js";
import { TOKEN_EXPIRY_PREFIX } from "./token/token-keys.js";
import type { LoginMount } from "./token/token-renewal.js";
import { TokenRoles } from "./token/token-role.js";
import { tokenPaths } from "./token/token-paths.js";
import { tidyTokenIndex } from "./token/token-scan.js";
import { type LiveToken, type NewToken, TokenStore } from "./token/token-store.js";
import { Cubbyhole } from "./wrapping/cubbyhole.js";
import { cubbyholePaths } from "./wrapping/cubbyhole-paths.js";
import { WrappedAnswers } from "./wrapping/wrapped-answers.js";
import { wrappingPaths } from "./wrapping/wrapping-paths.js";

const TOKEN_MOUNT = "auth/token/";

export interface UnsealedVaultInit {
  readonly barrier: Barrier;
  readonly sharing: Sharing;
  /** As `VaultInit`. */
  readonly host: string | undefined;
  /** As `VaultInit.shared`, asked anew whenever it matters. */
  readonly isShared: () => boolean;
  readonly engines: Readonly<Record<string, BackendFactory>>;
  readonly loginMethods: Readonly<Record<string, BackendFactory>>;
  readonly reservedMounts: readonly string[];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
  /** For audit devices that write to the standard output. */
  readonly stdout: LineWriter | undefined;
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

/** What exists only while the vault is unsealed, put together: tokens, policies, leases, audit devices, mounts. */
export class UnsealedVault implements AsyncDisposable {
  readonly barrier: Barrier;
  readonly sharing: Sharing;
  readonly mounts: Mounts;
  readonly policies: PolicyStore;
  readonly #pipeline: RequestPipeline;
  readonly #tokens: TokenStore;
  readonly #audit: AuditBroker;
  readonly #background: readonly AsyncDisposable[];

  private constructor(parts: {
    barrier: Barrier;
    sharing: Sharing;
    mounts: Mounts;
    policies: PolicyStore;
    pipeline: RequestPipeline;
    tokens: TokenStore;
    audit: AuditBroker;
    background: readonly AsyncDisposable[];
  }) {
    this.barrier = parts.barrier;
    this.sharing = parts.sharing;
    this.mounts = parts.mounts;
    this.policies = parts.policies;
    this.#pipeline = parts.pipeline;
    this.#tokens = parts.tokens;
    this.#audit = parts.audit;
    this.#background = parts.background;
  }

  /** @throws {RksError} STORAGE_CORRUPT */
  static async open(init: UnsealedVaultInit): Promise<UnsealedVault> {
    const { barrier, sharing, clock, logger, random } = init;
    const { changes, stewardship } = sharing;
    /** Backends that are being unmounted: no request reaches them, but they undo what they gave out. */
    const leaving = new Map<string, Backend | undefined>();
    // Nothing is noticed before the first look of the expirer, which sees everything.
    let expirer: Expirer | undefined;
    const onExpiry = (dueAtMs: number): void => expirer?.notice(dueAtMs);
    const cubbyhole = new Cubbyhole(barrier);
    const leases: LeaseStore = new LeaseStore(barrier, {
      clock,
      logger,
      random,
      onExpiry,
      undo: (accessor, internal) => undoLease(() => mounts, leaving, accessor, internal),
    });
    const tokens: TokenStore = await TokenStore.open(barrier, {
      clock,
      onExpiry,
      cleanUp: async (hash) => {
        await leases.endOfToken(hash);
        await cubbyhole.clear(hash);
      },
    });
    const policies = new PolicyStore(barrier);
    const entities = new EntityStore(barrier, clock);
    const wrapped = new WrappedAnswers(tokens, cubbyhole, clock);
    const tokenTidy = new OneAtATime((signal) => tidyTokenIndex(barrier, signal), logger);
    const leaseTidy = new OneAtATime((signal) => leases.tidy(signal), logger);
    const audit = await openAuditBroker({
      storage: barrier,
      clock,
      logger,
      host: init.host,
      isShared: init.isShared,
      ...(init.stdout === undefined ? {} : { stdout: init.stdout }),
    });
    const aclOf = (token: LiveToken): Promise<Acl> => aclOfToken({ policies, entities }, token);
    const system = (mountsOf: () => Mounts): readonly BackendPath[] => [
      ...init.sealPaths,
      ...policyPaths(policies),
      ...mountPaths(mountsOf()),
      ...capabilityPaths({ tokens, aclOf }),
      ...describingPaths({ mounts: mountsOf(), aclOf }),
      ...auditPaths(audit),
      ...wrappingPaths(wrapped),
      ...leasePaths({ leases, tokens, storage: barrier, clock, startTidy: () => leaseTidy.start() }),
      ...init.sysPaths,
    ];
    const token = (): PathTable =>
      tokenPaths({
        tokens,
        clock,
        storage: barrier,
        roles: new TokenRoles(barrier),
        ttls: () => tokenTtls(mounts),
        loginMount: (accessor) => loginMount(mounts, accessor),
        entityOf: (name) => tokenEntity(entities, mounts, name),
        startTidy: () => tokenTidy.start(),
      });
    const mounts: Mounts = await Mounts.open({
      storage: barrier,
      engines: init.engines,
      loginMethods: init.loginMethods,
      builtIn: (self) => [
        builtIn("sys/", "system", "the vault itself", () => new PathTable(system(self))),
        builtIn("cubbyhole/", "cubbyhole", "a place of its own for each token", () =>
          cubbyholePaths(cubbyhole),
        ),
        builtIn("identity/", "identity", "who tokens belong to", () => identityPaths(entities)),
        { ...builtIn(TOKEN_MOUNT, "token", "tokens", token), tunable: true },
      ],
      reserved: init.reservedMounts,
      logger,
      stewardship,
      revokeAll: async (entry, backend) => {
        leaving.set(entry.accessor, backend);
        try {
          await revokeLeases({ leases, tokens }, entry.path, "at once");
        } finally {
          leaving.delete(entry.accessor);
        }
      },
    }).catch(async (reason: unknown) => {
      await audit[Symbol.asyncDispose]();
      throw reason;
    });
    expirer = new Expirer([tokens, leases], { clock, logger, stewardship });
    tokens.follow(changes);
    policies.follow(changes);
    mounts.follow(changes);
    audit.follow(changes);
    for (const prefix of [TOKEN_EXPIRY_PREFIX, LEASE_EXPIRY_PREFIX]) {
      changes.on(prefix, (key) => onExpiry(readTimeKey(prefix, key)?.dueAtMs ?? 0));
    }
    changes.onGap(() => onExpiry(0));
    const pipeline = new RequestPipeline({
      mounts,
      tokens,
      policies,
      entities,
      leases,
      wrapped,
      audit,
      clock,
    });
    return new UnsealedVault({
      barrier,
      sharing,
      mounts,
      policies,
      pipeline,
      tokens,
      audit,
      background: [expirer, tokenTidy, leaseTidy],
    });
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

  /** Answer a request; see `RequestPipeline`. */
  handle(request: CanonicalRequest, id: string): Promise<HandledAnswer | undefined> {
    return this.#pipeline.handle(request, id);
  }

  /** See `RequestPipeline`. */
  holderOf(clientToken: Secret<string>, connection: Connection): Promise<TokenHolder | undefined> {
    return this.#pipeline.holderOf(clientToken, connection);
  }

  /** Make a token that has no parent. */
  async createToken(token: NewToken): Promise<string> {
    return (await this.#tokens.create(token, undefined)).token;
  }

  /** Open the audit devices' files anew, after they were moved away. */
  reopenAudit(): Promise<void> {
    return this.#audit.reopen();
  }

  /** Seal the barrier, dispose the mounts; the audit devices are closed when the last request is over. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#audit.rememberHeads();
    this.barrier.seal();
    for (const running of this.#background) await running[Symbol.asyncDispose]();
    await this.mounts[Symbol.asyncDispose]();
    await this.#audit[Symbol.asyncDispose]();
  }
}

/** A mount that owns nothing. */
function builtIn(path: string, type: string, description: string, table: () => PathTable): BuiltInMount {
  return {
    path,
    type,
    description,
    factory: () => Promise.resolve({ paths: table(), [Symbol.asyncDispose]: () => Promise.resolve() }),
  };
}

/** @throws {RksError} UNAVAILABLE while the mount's backend cannot be made. */
async function undoLease(
  mounts: () => Mounts,
  leaving: ReadonlyMap<string, Backend | undefined>,
  accessor: string,
  internal: JsonObject,
): Promise<void> {
  if (leaving.has(accessor)) {
    const backend = leaving.get(accessor);
    if (backend === undefined) throw cannotUndo();
    return backend.revokeLease?.(internal);
  }
  const served = mounts()
    .backends()
    .find(({ entry }) => entry.accessor === accessor)?.backend;
  if (served !== undefined) return served.revokeLease?.(internal);
  // Of a mount that is gone nothing is left to undo.
  if (
    mounts()
      .list()
      .some((entry) => entry.accessor === accessor)
  )
    throw cannotUndo();
}

function cannotUndo(): RksError {
  return new RksError("UNAVAILABLE", "the engine that made the secret could not be opened", {
    suggestion: "Look in the log for why, or forget its leases with sys/leases/revoke-force.",
  });
}

function tokenTtls(mounts: Mounts): { readonly default: number; readonly max: number } {
  return effectiveTtls(tokenMount(mounts));
}

function tokenMount(mounts: Mounts): MountEntry {
  const entry = mounts.covering(TOKEN_MOUNT.slice(0, -1));
  if (entry === undefined) throw RksError.from(new Error("the tokens are not mounted"));
  return entry;
}

function loginMount(mounts: Mounts, accessor: string): LoginMount | undefined {
  const found = mounts.backends().find(({ entry }) => entry.accessor === accessor);
  if (found === undefined) return undefined;
  const { entry, backend } = found;
  return {
    ttls: effectiveTtls(entry),
    renewLogin: async (renewal) => backend.renewLogin?.(renewal),
  };
}

async function tokenEntity(entities: EntityStore, mounts: Mounts, name: string): Promise<string> {
  const { accessor, path, type } = tokenMount(mounts);
  const login = { mountAccessor: accessor, mountPath: path, mountType: type, name, metadata: {} };
  return (await entities.ensure(login)).id;
}
