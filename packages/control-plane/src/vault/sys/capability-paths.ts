import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { Answer } from "../backend.js";
import { list, requiredText } from "../field-types.js";
import { type BackendPath, callerOf, operation } from "../path-table.js";
import type { Acl } from "../policy/acl.js";
import type { LiveToken, TokenStore } from "../token/token-store.js";

export interface CapabilityPorts {
  readonly tokens: Pick<TokenStore, "find" | "findByAccessor">;
  readonly aclOf: (token: LiveToken) => Promise<Acl>;
}

/** More than a person or a user interface asks for at once; each is looked up. */
const MAX_PATHS = 1000;
/** Older clients ask for one `path`. */
const paths = { paths: list(), path: list() };

/** The paths that tell what a token may do on which path, relative to `sys/`. */
export function capabilityPaths({ tokens, aclOf }: CapabilityPorts): readonly BackendPath[] {
  const answer = async (token: LiveToken, fields: Asked): Promise<Answer> => {
    const asked = askedPaths(fields);
    const acl = await aclOf(token);
    const each = asked.map((path) => [path, acl.capabilities(path)] as const);
    const [only] = each;
    const alone = each.length === 1 && only !== undefined ? [["capabilities", only[1]] as const] : [];
    return { data: Object.fromEntries([...each, ...alone]), form: "repeated" };
  };
  return [
    {
      pattern: "capabilities",
      operations: {
        update: operation({
          summary: "Tell what a token may do on paths.",
          fields: z.object({ token: requiredText({ maxCharacters: 4096 }), ...paths }),
          handle: async ({ fields }) => answer(alive(await tokens.find(fields.token), "token"), fields),
        }),
      },
    },
    {
      pattern: "capabilities-self",
      operations: {
        update: operation({
          summary: "Tell what the caller's token may do on paths.",
          fields: z.object(paths),
          handle: async (request) => answer(callerOf(request).token, request.fields),
        }),
      },
    },
    {
      pattern: "capabilities-accessor",
      operations: {
        update: operation({
          summary: "Tell what the token of an accessor may do on paths.",
          fields: z.object({ accessor: requiredText({ maxCharacters: 256 }), ...paths }),
          handle: async ({ fields }) =>
            answer(alive(await tokens.findByAccessor(fields.accessor), "accessor"), fields),
        }),
      },
    },
  ];
}

interface Asked {
  readonly paths?: readonly string[] | undefined;
  readonly path?: readonly string[] | undefined;
}

function askedPaths(fields: Asked): readonly string[] {
  const asked = [...new Set([...(fields.paths ?? []), ...(fields.path ?? [])])];
  if (asked.length > 0 && asked.length <= MAX_PATHS) return asked;
  throw new RksError("INPUT_INVALID", `${asked.length} paths were given`, {
    suggestion: `Give from 1 to ${MAX_PATHS} as "paths".`,
  });
}

function alive(token: LiveToken | undefined, what: string): LiveToken {
  if (token !== undefined) return token;
  throw new RksError("INPUT_INVALID", `invalid ${what}`, {
    suggestion: `Give the ${what} of a token that is alive.`,
  });
}
