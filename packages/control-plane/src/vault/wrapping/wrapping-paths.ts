import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { Answer, PathRequest } from "../backend.js";
import { text } from "../field-types.js";
import { type BackendPath, callerOf, operation, type PathOperation } from "../path-table.js";
import { isWrapping } from "../token/token-entry.js";
import { notWrapping, type Unwrapped, type WrappedAnswers } from "./wrapped-answers.js";

const byToken = z.object({ token: text("") });

/** The paths `sys/wrapping/…`; relative to `sys/`. */
export function wrappingPaths(wrapped: WrappedAnswers): readonly BackendPath[] {
  const lookup = operation({
    access: "anyone",
    summary: "Tell when and by which path an answer was wrapped.",
    fields: byToken,
    handle: async ({ fields }) => ({ data: await wrapped.lookup(fields.token) }),
  });
  const wrap: PathOperation = {
    access: "token",
    summary: "Answer with what was sent, wrapped.",
    fields: undefined,
    handle: ({ data, wrapTtlSeconds = 0 }) => {
      if (wrapTtlSeconds > 0) return Promise.resolve({ data, form: "repeated" });
      return Promise.reject(
        new RksError("INPUT_INVALID", "endpoint requires response wrapping to be used", {
          suggestion: "Say for how long, with the header X-Vault-Wrap-TTL.",
        }),
      );
    },
  };
  /** The token of the body, or that of the request when that is a wrapping token, and then its use is taken. */
  const takeOut = async (request: PathRequest<z.output<typeof byToken>>): Promise<Unwrapped> => {
    const { token } = callerOf(request);
    if (request.fields.token !== "") return wrapped.unwrap(request.fields.token);
    if (!isWrapping(token.entry)) throw notWrapping();
    return wrapped.takeOut(token);
  };
  return [
    { pattern: "wrapping/wrap", operations: { update: wrap } },
    {
      pattern: "wrapping/unwrap",
      operations: {
        update: operation({
          summary: "Answer with what was wrapped, once.",
          fields: byToken,
          handle: async (request): Promise<Answer | undefined> => (await takeOut(request)).answer,
        }),
      },
    },
    { pattern: "wrapping/lookup", operations: { read: lookup, update: lookup } },
    {
      pattern: "wrapping/rewrap",
      operations: {
        update: operation({
          summary: "Wrap anew what was wrapped; the old token ends.",
          fields: byToken,
          handle: async (request) => ({
            wrapInfo: (await wrapped.rewrap(await takeOut(request))).wrapInfo,
          }),
        }),
      },
    },
  ];
}
