import { RksError, Secret } from "@rk8s/protocol";

import type { AuditedRequest, RequestAudit } from "./audit/request-audit.js";
import type { Answer, Backend, Caller, Connection, LeaseGrant, Operation } from "./backend.js";
import type { EntityStore } from "./identity/entity-store.js";
import { policyIdentity } from "./identity/entity.js";
import type { LeaseStore } from "./lease/lease-store.js";
import { effectiveTtls, SYSTEM_MAX_TTL_SECONDS } from "./mount/mount-settings.js";
import type { MountEntry } from "./mount/mount-table.js";
import type { Mounts } from "./mount/mounts.js";
import { helpAnswer } from "./path-help.js";
import { operationFor, type PathMatch, type PathOperation } from "./path-table.js";
import type { Acl } from "./policy/acl.js";
import { denialSuggestion } from "./policy/denial.js";
import type { PolicyIdentity } from "./policy/policy.js";
import type { PolicyStore } from "./policy/policy-store.js";
import { type CanonicalRequest, type HandledAnswer, isWrite } from "./request.js";
import { isWithin, logIn } from "./token/logins.js";
import { OPERATOR_TOKEN } from "./token/operator-token.js";
import { SPENT, type TokenEntry } from "./token/token-entry.js";
import type { LiveToken, TokenStore } from "./token/token-store.js";
import { notWrapping, type WrappedAnswers } from "./wrapping/wrapped-answers.js";
import { readWrappingRequest, tokenText } from "./wrapping/wrapping-request.js";

export interface PipelineParts {
  readonly mounts: Mounts;
  readonly tokens: TokenStore;
  readonly policies: PolicyStore;
  readonly entities: EntityStore;
  readonly leases: LeaseStore;
  readonly wrapped: WrappedAnswers;
  readonly audit: RequestAudit;
  readonly clock: { now(): number };
}

/** What a path leads to. */
interface Route {
  readonly entry: MountEntry;
  readonly backend: Backend;
  /** Within the mount. */
  readonly path: string;
  readonly match: PathMatch | undefined;
  readonly operation: PathOperation | undefined;
}

/** What was decided about a request before anything of it is done. */
interface Admission {
  /** As it is to be handled. */
  readonly request: CanonicalRequest;
  readonly operation: Operation;
  readonly route: Route | undefined;
  /** Whose use was taken, also when the request is refused. */
  readonly token: LiveToken | undefined;
  readonly caller: Caller | undefined;
  readonly refusal: RksError | undefined;
}

/** Whoever holds a token that was accepted. */
export interface TokenHolder {
  /** What the token is called in audit lines. */
  readonly name: string;
  readonly policies: readonly string[];
  /** What they allow. */
  readonly acl: Acl;
}

/** An answer, and how to take back what it gives away if it cannot be given. */
interface Outcome {
  readonly answer: HandledAnswer | undefined;
  readonly takeBack: readonly (() => Promise<void>)[];
}

/** What an answer belongs to. */
interface About {
  readonly request: CanonicalRequest;
  readonly mount: MountEntry;
  readonly token: LiveToken | undefined;
}

/**
 * The way of every request through an unsealed vault: find what serves the path, take one use of the token, ask its
 * policies, record the request, do it, make of the answer what it asks for (a token, a lease, a wrapped answer), record
 * that, answer. Where a record cannot be written nothing is done, or nothing is answered.
 */
export class RequestPipeline {
  readonly #parts: PipelineParts;

  constructor(parts: PipelineParts) {
    this.#parts = parts;
  }

  /** Answer a request. The id names it in the audit log. */
  async handle(request: CanonicalRequest, id: string): Promise<HandledAnswer | undefined> {
    const { audit, mounts, tokens } = this.#parts;
    const admission = await this.#admit(request);
    const { token } = admission;
    const audited: AuditedRequest = {
      id,
      operation: admission.operation,
      path: request.askedPath,
      data: request.data ?? {},
      mount: admission.route?.entry ?? mounts.covering(request.path),
      token,
      clientToken: tokenText(admission.request.clientToken),
      connection: request.connection ?? {},
      wrapTtlSeconds: request.wrapTtlSeconds ?? 0,
    };
    try {
      await audit.request(audited);
      return await this.#answer(admission, audited);
    } finally {
      // Dead already; what cannot be deleted now, because the request sealed the vault or filled the disk, is due at once.
      if (token?.entry.usesLeft === SPENT) await tokens.revoke(token.hash).catch(() => undefined);
    }
  }

  /**
   * As whom a token acts on paths that are served outside of the vault; takes one use of it. Undefined when it is not
   * alive or not to be used from there.
   */
  async holderOf(clientToken: Secret<string>, connection: Connection): Promise<TokenHolder | undefined> {
    const { tokens, policies } = this.#parts;
    const token = await tokens.use(clientToken.reveal());
    if (token === undefined) return undefined;
    const { entry, hash } = token;
    if (entry.usesLeft === SPENT) await tokens.revoke(hash).catch(() => undefined);
    const identity = await this.#identity(entry);
    if (identity === "refused" || !isWithin(entry.boundCidrs, connection)) return undefined;
    const acl = await policies.acl(entry.policies, identity);
    return { name: entry.displayName, policies: entry.policies, acl };
  }

  async #answer(admission: Admission, audited: AuditedRequest): Promise<HandledAnswer | undefined> {
    const { audit } = this.#parts;
    let outcome: Outcome;
    try {
      if (admission.refusal !== undefined) throw admission.refusal;
      outcome = await this.#perform(admission);
    } catch (reason) {
      await audit.response(audited, { answer: undefined, error: RksError.from(reason).message });
      throw reason;
    }
    try {
      await audit.response(audited, { answer: outcome.answer, error: undefined });
    } catch (reason) {
      // Nobody learns of what was given away; it ends by itself where it cannot be ended now.
      for (const takeBack of outcome.takeBack) await takeBack().catch(() => undefined);
      throw reason;
    }
    return outcome.answer;
  }

  /** Decide about a request; never fails, for what is refused is recorded as well. */
  async #admit(asked: CanonicalRequest): Promise<Admission> {
    const { request, isWrappingToken } = readWrappingRequest(asked);
    const refused = { request, operation: request.operation, caller: undefined, token: undefined };
    let route: Route | undefined;
    let failure: RksError | undefined;
    try {
      route = this.#route(request);
    } catch (reason) {
      failure = RksError.from(reason);
    }
    try {
      assertWrapTtl(request.wrapTtlSeconds ?? 0);
      if (route?.operation?.access === "anyone" && request.operation !== "help") {
        const operation = await resolveOperation(request.operation, route.match);
        return { ...refused, operation, route, refusal: undefined };
      }
      if (route?.operation?.access === "optional" && request.operation !== "help") {
        return await this.#admitOptionally({ ...refused, route, refusal: undefined });
      }
      const token = await this.#use(request, isWrappingToken);
      if (token === undefined) throw isWrappingToken ? notWrapping() : denied(request);
      return await this.#authorize({ ...refused, route, token, refusal: failure });
    } catch (reason) {
      return { ...refused, route, refusal: RksError.from(reason) };
    }
  }

  /** Let anybody through; a token that is given must be alive, and is the caller. */
  async #admitOptionally(admission: Admission): Promise<Admission> {
    const { request } = admission;
    if (tokenText(request.clientToken) === "" && request.authority !== "root") return admission;
    const token = await this.#use(request, false);
    if (token === undefined) throw denied(request);
    const secret = new Secret(tokenText(request.clientToken));
    const isInPlace = isWithin(token.entry.boundCidrs, request.connection ?? {});
    if (!isInPlace || (await this.#identity(token.entry)) === "refused") {
      return { ...admission, token, refusal: denied(request) };
    }
    return { ...admission, token, caller: { token, secret, hasSudo: false } };
  }

  /** Ask the policies; the route's failure is for those whom they let through. */
  async #authorize(admission: Admission & { readonly token: LiveToken }): Promise<Admission> {
    const { request, route, token, refusal } = admission;
    let { operation } = admission;
    try {
      const identity = await this.#identity(token.entry);
      const isInPlace = isWithin(token.entry.boundCidrs, request.connection ?? {});
      if (identity === "refused" || !isInPlace) throw denied(request);
      operation = await resolveOperation(request.operation, route?.match);
      const acl = await this.#parts.policies.acl(token.entry.policies, identity);
      const { askedPath: path, data, wrapTtlSeconds = 0 } = request;
      const wrapping = wrapTtlSeconds > 0 ? { wrapTtlSeconds } : {};
      const decision = acl.decide({ operation, path, data, ...wrapping });
      if (!decision.allowed) throw denied(request, denialSuggestion(decision.denial));
      if (decision.onlyWithSlash === true) throw noHandler(request, false);
      if (route?.operation?.access === "sudo" && !decision.sudo) throw denied(request);
      const secret = new Secret(tokenText(request.clientToken));
      const caller = { token, secret, hasSudo: decision.sudo, identity };
      return { ...admission, operation, caller, refusal };
    } catch (reason) {
      return { ...admission, operation, refusal: RksError.from(reason) };
    }
  }

  #route({ path, operation }: CanonicalRequest): Route | undefined {
    const target = this.#parts.mounts.route(path);
    if (target === undefined) return undefined;
    const match = target.backend.paths.match(target.path);
    return { ...target, match, operation: match && operationFor(match.entry, operation) };
  }

  /** Take one use of the request's token; undefined when there is none that is alive. */
  async #use(request: CanonicalRequest, isWrappingToken: boolean): Promise<LiveToken | undefined> {
    const { tokens, wrapped } = this.#parts;
    const text = tokenText(request.clientToken);
    if (text === "") return request.authority === "root" ? OPERATOR_TOKEN : undefined;
    // A token that wraps nothing keeps its uses.
    if (isWrappingToken && (await wrapped.find(text)) === undefined) return undefined;
    return tokens.use(text);
  }

  async #identity({ entityId }: TokenEntry): Promise<PolicyIdentity | "refused" | undefined> {
    if (entityId === "") return undefined;
    const entity = await this.#parts.entities.find(entityId);
    return entity === undefined || entity.disabled ? "refused" : policyIdentity(entity);
  }

  async #perform({ request, operation: asked, route, token, caller }: Admission): Promise<Outcome> {
    const { data = {}, connection = {}, wrapTtlSeconds = 0 } = request;
    if (asked === "help" && route !== undefined && (route.match !== undefined || route.path === "")) {
      const answer = helpAnswer(route.entry.path, route.backend.paths, route.match);
      return { answer, takeBack: [] };
    }
    if (route?.match === undefined || route.operation === undefined || asked === "help") {
      throw noHandler(request, route?.match !== undefined);
    }
    const { path, match, operation } = route;
    const { parameters } = match;
    const answer = await operation.handle({
      operation: asked,
      path,
      parameters,
      data,
      caller,
      connection,
      wrapTtlSeconds,
    });
    return answer === undefined
      ? { answer, takeBack: [] }
      : this.#complete(answer, { request, mount: route.entry, token });
  }

  /** Make the token, the lease and the wrapped answer that a handler's answer asks for. */
  async #complete(answer: Answer, about: About): Promise<Outcome> {
    const takeBack: (() => Promise<void>)[] = [];
    try {
      return { answer: await this.#give(answer, about, takeBack), takeBack };
    } catch (reason) {
      for (const end of takeBack) await end().catch(() => undefined);
      throw reason;
    }
  }

  async #give(
    { login, lease, ...handled }: Answer,
    about: About,
    takeBack: (() => Promise<void>)[],
  ): Promise<HandledAnswer> {
    const { tokens, wrapped, leases } = this.#parts;
    const { path, connection = {}, wrapTtlSeconds = 0 } = about.request;
    let answer: HandledAnswer = handled;
    if (login !== undefined) {
      const { mount } = about;
      const { auth, warnings, token } = await logIn(this.#parts, { grant: login, mount, path, connection });
      takeBack.push(() => tokens.revoke(token.hash));
      answer = { ...answer, auth, warnings: [...(answer.warnings ?? []), ...warnings] };
    }
    if (lease !== undefined) {
      const leased = await this.#lease(lease, about);
      takeBack.push(() => leases.revoke(leased.id));
      answer = { ...answer, leased };
    }
    if (wrapTtlSeconds === 0 || answer.wrapInfo !== undefined || isEmpty(answer)) return answer;
    const { wrapInfo, hash } = await wrapped.wrap(answer, path, wrapTtlSeconds);
    takeBack.push(() => tokens.revoke(hash));
    return { wrapInfo };
  }

  /** Keep a lease that ends with the token; a batch token's ends with its parent, or no later than itself. */
  async #lease(grant: LeaseGrant, about: About): Promise<NonNullable<HandledAnswer["leased"]>> {
    const { leases, tokens, clock } = this.#parts;
    const { token, mount, request } = about;
    const ttls = effectiveTtls(mount);
    const maxTtlSeconds = Math.min(grant.maxTtlSeconds === 0 ? ttls.max : grant.maxTtlSeconds, ttls.max);
    const isBatch = token?.entry.type === "batch";
    const owner = isBatch ? token.entry.parent : token?.hash === "" ? undefined : token?.hash;
    const endsAtMs = isBatch && owner === undefined ? token.entry.expiresAtMs : undefined;
    const leftSeconds = endsAtMs === undefined ? maxTtlSeconds : Math.floor((endsAtMs - clock.now()) / 1000);
    const ttlSeconds = Math.min(
      grant.ttlSeconds === 0 ? ttls.default : grant.ttlSeconds,
      maxTtlSeconds,
      leftSeconds,
    );
    const isSpent = token?.entry.usesLeft === SPENT;
    const { id, entry } = await leases.register({
      path: request.path,
      mountAccessor: mount.accessor,
      grant: { ...grant, ttlSeconds, maxTtlSeconds: Math.min(maxTtlSeconds, leftSeconds) },
      token: owner,
      comparison: async () => {
        if (isSpent) throw lastUse();
        if (owner === undefined) return [];
        const held = await tokens.hold(owner);
        return held === undefined ? undefined : [held];
      },
    });
    return { id, ttlSeconds: entry.ttlSeconds, renewable: entry.renewable };
  }
}

/** Which of the two kinds of writing this is; only paths that can tell have both. */
async function resolveOperation(asked: Operation, match: PathMatch | undefined): Promise<Operation> {
  if (!isWrite(asked) || asked === "patch") return asked;
  const exists = match?.entry.exists;
  return exists !== undefined && !(await exists(match?.parameters ?? {})) ? "create" : "update";
}

function isEmpty({ data, auth, leased }: HandledAnswer): boolean {
  return data === undefined && auth === undefined && leased === undefined;
}

function assertWrapTtl(seconds: number): void {
  if (Number.isSafeInteger(seconds) && seconds >= 0 && seconds <= SYSTEM_MAX_TTL_SECONDS) return;
  throw new RksError("INPUT_INVALID", `an answer cannot be kept wrapped for ${seconds} s`, {
    suggestion: `Ask for at most ${SYSTEM_MAX_TTL_SECONDS} s.`,
  });
}

/** One text for a missing, unknown, expired or spent token and for a policy that says no. */
function denied(
  { operation, askedPath: path }: CanonicalRequest,
  suggestion = "Give a token that is alive and whose policies allow this.",
): RksError {
  return new RksError("PERMISSION_DENIED", `permission denied for ${operation} on "${path.slice(0, 200)}"`, {
    suggestion,
  });
}

function lastUse(): RksError {
  return new RksError(
    "INPUT_INVALID",
    "the secret was revoked at once: it would have ended with its token, whose last use this was",
    { suggestion: "Use a token with more uses." },
  );
}

function noHandler({ operation, askedPath: path }: CanonicalRequest, isKnown: boolean): RksError {
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
