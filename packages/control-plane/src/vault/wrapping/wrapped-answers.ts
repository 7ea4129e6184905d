import { randomUUID } from "node:crypto";

import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { JsonObject } from "../backend.js";
import { RESPONSE_WRAPPING } from "../policy/builtin-policies.js";
import type { HandledAnswer, VaultWrapInfo } from "../request.js";
import { toVaultAnswer } from "../request.js";
import { isWrapping } from "../token/token-entry.js";
import type { LiveToken, TokenStore } from "../token/token-store.js";
import { type Cubbyhole, cubbyholeWrite } from "./cubbyhole.js";

/** Names in the place of the wrapping token; `response` is where old clients read it themselves. */
const RESPONSE = "response";
const WRAP_INFO = "wrapinfo";

const wrapInfo = z.object({
  creation_ttl: z.int().min(0),
  creation_time: z.string(),
  creation_path: z.string(),
});
/** When, for how long and by which path an answer was wrapped. */
export type WrapInfo = Readonly<z.output<typeof wrapInfo>>;

const kept = z.object({
  lease_id: z.string(),
  renewable: z.boolean(),
  lease_duration: z.number(),
  // As it was: a record would lose a member `__proto__`.
  data: z.custom<JsonObject>((value) => typeof value === "object").nullable(),
  warnings: z.array(z.string()).readonly().nullable(),
  auth: z.record(z.string(), z.unknown()).nullable(),
});

/** An answer that was wrapped; what it was made of besides goes with `rewrap`. */
export interface Unwrapped {
  readonly answer: HandledAnswer;
  readonly info: WrapInfo;
  /** As it is kept. */
  readonly text: string;
}

/** Answers kept for whoever holds a token that can fetch them once. */
export class WrappedAnswers {
  readonly #tokens: TokenStore;
  readonly #cubbyhole: Cubbyhole;
  readonly #clock: { now(): number };

  constructor(tokens: TokenStore, cubbyhole: Cubbyhole, clock: { now(): number }) {
    this.#tokens = tokens;
    this.#cubbyhole = cubbyhole;
    this.#clock = clock;
  }

  /** Keep an answer of a path. @throws {RksError} INPUT_INVALID when it is too large. */
  async wrap(answer: HandledAnswer, path: string, ttlSeconds: number): Promise<Wrapped> {
    const { response } = toVaultAnswer(answer, randomUUID());
    const accessor = answer.auth?.accessor ?? "";
    return this.#keep(JSON.stringify(response), { path, ttlSeconds, accessor });
  }

  /** Keep an answer that was taken out anew, for as long as at first. */
  async rewrap({ text, info, answer }: Unwrapped): Promise<Wrapped> {
    const accessor = answer.auth?.accessor ?? "";
    return this.#keep(text, { path: info.creation_path, ttlSeconds: info.creation_ttl, accessor });
  }

  /** The token of a wrapped answer, which is not used by this. */
  async find(token: string): Promise<LiveToken | undefined> {
    const found = await this.#tokens.find(token);
    return found !== undefined && isWrapping(found.entry) ? found : undefined;
  }

  /** @throws {RksError} INPUT_INVALID when the token is not one of a wrapped answer. */
  async lookup(token: string): Promise<WrapInfo> {
    const found = await this.find(token);
    const info = found === undefined ? undefined : await this.#cubbyhole.read(found.hash, WRAP_INFO);
    if (info === undefined) throw notWrapping();
    return wrapInfo.parse(info);
  }

  /**
   * Take out what a token keeps, with its only use; of several at once one succeeds.
   * @throws {RksError} INPUT_INVALID when the token is not one of a wrapped answer, or not any more.
   */
  async unwrap(token: string): Promise<Unwrapped> {
    if ((await this.find(token)) === undefined) throw notWrapping();
    const used = await this.#tokens.use(token);
    if (used === undefined) throw notWrapping();
    try {
      return await this.takeOut(used);
    } finally {
      await this.#tokens.revoke(used.hash);
    }
  }

  /** Take out what a token keeps whose use is taken already; it is the caller's to revoke. */
  async takeOut(token: LiveToken): Promise<Unwrapped> {
    const stored = await this.#cubbyhole.read(token.hash, RESPONSE);
    const info = await this.#cubbyhole.read(token.hash, WRAP_INFO);
    const text = stored?.["response"];
    if (typeof text !== "string" || info === undefined) throw notWrapping();
    return { answer: readKept(text), info: wrapInfo.parse(info), text };
  }

  async #keep(
    text: string,
    { path, ttlSeconds, accessor }: { path: string; ttlSeconds: number; accessor: string },
  ): Promise<Wrapped> {
    const nowMs = this.#clock.now();
    const info: WrapInfo = {
      creation_ttl: ttlSeconds,
      creation_time: new Date(nowMs).toISOString(),
      creation_path: path,
    };
    const made = await this.#tokens.create(
      {
        type: "service",
        policies: [RESPONSE_WRAPPING],
        displayName: "",
        meta: {},
        path,
        ttlSeconds,
        explicitMaxTtlSeconds: ttlSeconds,
        periodSeconds: 0,
        expiresAtMs: nowMs + ttlSeconds * 1000,
        renewable: false,
        usesLeft: 1,
        boundCidrs: [],
        entityId: "",
      },
      undefined,
      {
        besides: (hash) => [
          cubbyholeWrite(hash, RESPONSE, { response: text }),
          cubbyholeWrite(hash, WRAP_INFO, info),
        ],
      },
    );
    const wrapInfoOfAnswer: VaultWrapInfo = {
      token: made.token,
      accessor: made.entry.accessor,
      ttl: ttlSeconds,
      creation_time: info.creation_time,
      creation_path: path,
      ...(accessor === "" ? {} : { wrapped_accessor: accessor }),
    };
    return { wrapInfo: wrapInfoOfAnswer, hash: made.hash };
  }
}

/** An answer that was kept, and under which token. */
export interface Wrapped {
  readonly wrapInfo: VaultWrapInfo;
  readonly hash: string;
}

/** One text for tokens that never wrapped anything and for those that do not any more. */
export function notWrapping(): RksError {
  return new RksError("INPUT_INVALID", "wrapping token is not valid or does not exist", {
    suggestion: "Ask for a new one; if nobody of yours has used it, somebody else may have.",
  });
}

function readKept(text: string): HandledAnswer {
  const { data, auth, warnings, ...lease } = kept.parse(JSON.parse(text));
  return {
    ...(data === null ? {} : { data }),
    ...(auth === null ? {} : { auth: auth as unknown as NonNullable<HandledAnswer["auth"]> }),
    ...(warnings === null ? {} : { warnings }),
    ...(lease.lease_id === ""
      ? {}
      : {
          leased: {
            id: lease.lease_id,
            ttlSeconds: lease.lease_duration,
            renewable: lease.renewable,
          },
        }),
  };
}
