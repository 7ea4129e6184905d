import type { Answer, BackendFactory, JsonObject, PathRequest } from "../backend.js";
import { operation, PathTable } from "../path-table.js";
import { z } from "zod";
import { duration, flag, text } from "../field-types.js";

/** What a lender gave out and took back, and how it is made to fail. */
export interface LenderState {
  readonly revoked: string[];
  /** Called with each revocation; throw to make it fail. */
  onRevoke: (name: string) => Promise<void> | void;
  /** Called with each renewed login; throw to refuse it. */
  onRenew: (renewal: JsonObject) => void;
  /** Called before `lend` answers. */
  onLend: () => Promise<void> | void;
}

export function aLenderState(): LenderState {
  return { revoked: [], onRevoke: () => undefined, onRenew: () => undefined, onLend: () => undefined };
}

/** An engine whose `lend/:name` gives secrets with leases, and as a login method logs everybody in who asks. */
export function lenderBackend(state: LenderState): BackendFactory {
  const lend = async (request: PathRequest<{ ttl: number; max: number }>): Promise<Answer> => {
    await state.onLend();
    const name = request.parameters["name"] ?? "";
    const { ttl, max } = request.fields;
    return {
      data: { name },
      lease: { ttlSeconds: ttl, maxTtlSeconds: max, renewable: true, internal: { name } },
    };
  };
  const paths = new PathTable([
    {
      pattern: "lend/:name",
      operations: {
        read: operation({
          summary: "Lend.",
          fields: z.object({ ttl: duration(60), max: duration(600) }),
          handle: lend,
        }),
      },
    },
    {
      pattern: "login",
      operations: {
        update: operation({
          access: "anyone",
          summary: "Log in as whoever one says.",
          fields: z.object({
            name: text("somebody"),
            alias: text(""),
            policy: text("default"),
            type: text(""),
            ttl: duration(0),
            max: duration(0),
            period: duration(0),
            cidr: text(""),
            no_default: flag(false),
          }),
          handle: ({ fields }) => ({
            login: {
              displayName: fields.name,
              policies: [fields.policy],
              noDefaultPolicy: fields.no_default,
              metadata: { name: fields.name },
              ttlSeconds: fields.ttl,
              maxTtlSeconds: fields.max,
              periodSeconds: fields.period,
              renewal: { name: fields.name },
              ...(fields.alias === "" ? {} : { aliasName: fields.alias }),
              ...(fields.type === "" ? {} : { tokenType: fields.type as "service" | "batch" }),
              ...(fields.cidr === "" ? {} : { boundCidrs: [fields.cidr] }),
            },
          }),
        }),
      },
    },
  ]);
  return () =>
    Promise.resolve({
      paths,
      revokeLease: async (internal: JsonObject) => {
        await state.onRevoke(String(internal["name"]));
        state.revoked.push(String(internal["name"]));
      },
      renewLogin: (renewal: JsonObject) => {
        state.onRenew(renewal);
        return Promise.resolve();
      },
      [Symbol.asyncDispose]: () => Promise.resolve(),
    });
}
