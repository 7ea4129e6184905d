import { RksError } from "@rk8s/protocol";

import type { Answer, PathRequest } from "../backend.js";
import { callerOf, type PathOperation, PathTable } from "../path-table.js";
import type { Cubbyhole } from "./cubbyhole.js";

/** The paths under `cubbyhole/`: what the token of the request keeps. */
export function cubbyholePaths(cubbyhole: Cubbyhole): PathTable {
  const list = own("List what the token keeps.", async (token, { path }) => {
    const keys = await cubbyhole.list(token, path === "" ? "" : `${path}/`);
    return keys.length === 0 ? undefined : { data: { keys } };
  });
  return new PathTable([
    { pattern: "", operations: { list } },
    {
      pattern: "*path",
      operations: {
        list,
        read: own("Read what the token keeps.", async (token, { path }) => {
          const data = await cubbyhole.read(token, path);
          return data === undefined ? undefined : { data };
        }),
        update: own("Keep something until the token ends.", async (token, { path, data }) => {
          if (Object.keys(data).length === 0) throw nothingToKeep();
          await cubbyhole.write(token, path, data);
          return undefined;
        }),
        delete: own("Delete what the token keeps.", async (token, { path }) => {
          await cubbyhole.delete(token, path);
          return undefined;
        }),
      },
    },
  ]);
}

type OwnHandler = (token: string, request: Omit<PathRequest, "fields">) => Promise<Answer | undefined>;

/** An operation on the place of the request's token; any field may be sent. */
function own(summary: string, handle: OwnHandler): PathOperation {
  return {
    access: "token",
    summary,
    fields: undefined,
    handle: (request) => {
      const { hash, entry } = callerOf(request).token;
      if (hash !== "" && entry.type === "service") return handle(hash, request);
      return Promise.reject(noPlace());
    },
  };
}

function noPlace(): RksError {
  return new RksError("INPUT_INVALID", "only service tokens have a cubbyhole", {
    suggestion: "Make a service token.",
  });
}

function nothingToKeep(): RksError {
  return new RksError("INPUT_INVALID", "the request has nothing to keep", {
    suggestion: "Send some fields.",
  });
}
