import { randomUUID } from "node:crypto";

import type { Clock } from "@rk8s/protocol";

import type { LostHead } from "../../audit/audit-chain.js";
import type { JsonObject, RawAnswer } from "../backend.js";
import type { MountEntry } from "../mount/mount-table.js";
import { RecentMap } from "../policy/recent-map.js";
import type { VaultAuth, VaultWrapInfo } from "../request.js";
import type { TokenEntry } from "../token/token-entry.js";
import type { LiveToken } from "../token/token-store.js";
import { clearRequestFields, clearResponseFields } from "./clear-fields.js";
import type { AuditedRequest, AuditedResponse } from "./request-audit.js";
import { ValueHash, type ValueHashInit } from "./value-hash.js";

const ROOT_NAMESPACE = { id: "root" };

const MAX_RECENT = 1000;

/** What a token is called in the lines: hashes. */
interface TokenNames {
  readonly client_token: string | undefined;
  readonly accessor: string | undefined;
}

export interface AuditEntriesInit extends ValueHashInit {
  /** Whether accessors are hashed as well. */
  readonly hashAccessors: boolean;
  readonly clock: Pick<Clock, "now">;
}

/** Makes the lines of one audit device, in the JSON form of Vault's. */
export class AuditEntries {
  readonly #hash: ValueHash;
  readonly #hashAccessors: boolean;
  readonly #clock: Pick<Clock, "now">;
  /** What a request's line has in common with its response's, as JSON members: made once for both. */
  readonly #begun = new WeakMap<AuditedRequest, string>();
  /** Of tokens that were used lately. */
  readonly #recent = new RecentMap<TokenNames>(MAX_RECENT);

  constructor(init: AuditEntriesInit) {
    this.#hash = new ValueHash(init);
    this.#hashAccessors = init.hashAccessors;
    this.#clock = init.clock;
  }

  /** What a value looks like in this device's lines. */
  hash(value: string): string {
    return this.#hash.of(value);
  }

  /** The line of a request, its newline included. */
  request(request: AuditedRequest): string {
    return this.#line("request", this.#requestPart(request));
  }

  /** The line of how a request ended. */
  response(request: AuditedRequest, response: AuditedResponse): string {
    const isClear = clearResponseFields(request.mount);
    const { answer, error } = response;
    const texts = (warnings: readonly string[]): readonly string[] =>
      warnings.map((warning) => this.#hash.prose(warning, isClear("error")));
    const part = {
      response: {
        ...mountPart(request.mount),
        ...(answer?.data === undefined ? {} : { data: this.#hash.data(answer.data, isClear) }),
        ...(answer?.auth === undefined ? {} : { auth: this.#newToken(answer.auth) }),
        ...(answer?.wrapInfo === undefined ? {} : { wrap_info: this.#wrapInfo(answer.wrapInfo) }),
        ...(answer?.leased === undefined ? {} : { secret: { lease_id: answer.leased.id } }),
        ...(answer?.warnings === undefined ? {} : { warnings: texts(answer.warnings) }),
        ...(answer?.raw === undefined ? {} : { raw: this.#raw(answer.raw) }),
      },
      ...(error === undefined ? {} : { error: this.#hash.prose(error, isClear("error")) }),
    };
    return this.#line("response", `${this.#requestPart(request)},${members(part)}`);
  }

  /** A line that tells that a device was enabled here, and whether it can be written. */
  test(): string {
    return this.#ownLine("sys/audit/test");
  }

  /** A line that tells that the end of the device's file is not what was written to it. */
  broken(head: LostHead): string {
    return this.#ownLine("sys/audit/broken", { data: { ...head } });
  }

  /** What nobody has asked for, as a request. */
  #ownLine(path: string, more: { readonly data?: JsonObject } = {}): string {
    const request = { id: randomUUID(), operation: "update", namespace: ROOT_NAMESPACE, path, ...more };
    return this.#line("request", members({ auth: {}, request }));
  }

  #line(type: "request" | "response", parts: string): string {
    return `{"time":"${new Date(this.#clock.now()).toISOString()}","type":"${type}",${parts}}\n`;
  }

  #requestPart(request: AuditedRequest): string {
    const begun = this.#begun.get(request);
    if (begun !== undefined) return begun;
    const { clientToken, connection, mount, wrapTtlSeconds, path, token } = request;
    const { client_token, accessor } = this.#names(clientToken, token);
    const part = members({
      auth: token === undefined ? {} : { client_token, accessor, ...callerPart(token.entry) },
      request: {
        id: request.id,
        operation: request.operation,
        ...mountPart(mount),
        client_token,
        client_token_accessor: accessor,
        namespace: ROOT_NAMESPACE,
        path: this.#hash.withoutTokens(path, clientToken),
        data: this.#hash.data(request.data, clearRequestFields(mount)),
        remote_address: connection.remoteAddress,
        ...(wrapTtlSeconds > 0 ? { wrap_ttl: wrapTtlSeconds } : {}),
      },
    });
    this.#begun.set(request, part);
    return part;
  }

  #names(clientToken: string, token: LiveToken | undefined): TokenNames {
    const known = token === undefined ? "" : `${token.hash}/${token.entry.accessor}`;
    const remembered = this.#recent.get(known);
    if (remembered !== undefined) return remembered;
    const names = {
      client_token: clientToken === "" ? undefined : this.#hash.of(clientToken),
      accessor: token === undefined ? undefined : this.#accessor(token.entry.accessor),
    };
    // A name that the store gave, not the token, which is not to stay in memory for this.
    if (token !== undefined && token.hash !== "") this.#recent.set(known, names);
    return names;
  }

  #newToken(auth: VaultAuth): JsonObject {
    return {
      client_token: this.#hash.of(auth.client_token),
      accessor: this.#accessor(auth.accessor),
      policies: auth.policies,
      token_policies: auth.token_policies,
      metadata: auth.metadata,
      entity_id: auth.entity_id,
      token_type: auth.token_type,
      token_ttl: auth.lease_duration,
      num_uses: auth.num_uses,
    };
  }

  #wrapInfo(info: VaultWrapInfo): JsonObject {
    const { wrapped_accessor: wrapped } = info;
    return {
      ...info,
      token: this.#hash.of(info.token),
      accessor: this.#accessor(info.accessor),
      ...(wrapped === undefined ? {} : { wrapped_accessor: this.#accessor(wrapped) }),
    };
  }

  #raw({ contentType, body }: RawAnswer): JsonObject {
    return { content_type: contentType, length: Buffer.byteLength(body), body: this.#hash.of(body) };
  }

  #accessor(accessor: string): string {
    return this.#hashAccessors && accessor !== "" ? this.#hash.of(accessor) : accessor;
  }
}

/** An object in JSON without its braces. */
function members(part: JsonObject): string {
  return JSON.stringify(part).slice(1, -1);
}

function callerPart(token: TokenEntry): JsonObject {
  return {
    display_name: token.displayName,
    policies: token.policies,
    token_policies: token.policies,
    metadata: token.meta,
    entity_id: token.entityId,
    token_type: token.type,
    token_ttl: token.ttlSeconds,
    token_issue_time: new Date(token.createdAtMs).toISOString(),
    num_uses: Math.max(0, token.usesLeft),
  };
}

function mountPart(mount: MountEntry | undefined): JsonObject {
  if (mount === undefined) return {};
  return {
    mount_point: mount.path,
    mount_type: mount.type,
    mount_accessor: mount.accessor,
    mount_class: mount.path.startsWith("auth/") ? "auth" : "secret",
  };
}
