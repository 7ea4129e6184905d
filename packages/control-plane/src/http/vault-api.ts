import type { FastifyInstance } from "fastify";
import type { Answerer } from "./answerer.js";
import { connectionOf } from "./client-connection.js";
import { takeOver } from "./exchange.js";
import type { HttpAnswer } from "./http-answer.js";
import { vaultErrorAnswer } from "./http-error.js";
import { LIST_METHOD, SCAN_METHOD } from "./list-verb.js";
import type { OperatorApi } from "./operator-api.js";
import type { HttpCaller } from "./route.js";
import { toHttpAnswer } from "./vault-answer.js";
import { mediaType } from "./vault-body.js";
import { isUnknownPatch, readVaultRequest } from "./vault-request.js";
import { API_PREFIX } from "./vault-target.js";

/** Everything that a path of the API can be asked with. */
export const API_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", LIST_METHOD, SCAN_METHOD];
/** Fastify refuses a content type that it cannot read; here any will do. */
const READABLE_TYPE = /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+$/;
const NO_TYPE = "application/octet-stream";
const NO_MERGE_PATCH: HttpAnswer = {
  status: 415,
  body: JSON.stringify({ errors: ["PATCH requires Content-Type application/merge-patch+json"] }),
};

export interface VaultApiInit {
  readonly api: Pick<OperatorApi, "answer">;
  /** An operator needs no token. */
  readonly caller: HttpCaller;
}

/** Serve all of the vault by one route: what there is, its mounts say. */
export function serveVaultApi(app: FastifyInstance, init: VaultApiInit, answerer: Answerer): void {
  const { api, caller } = init;
  const authority = caller === "operator" ? "root" : undefined;
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
  app.route({
    method: API_METHODS,
    url: `${API_PREFIX}*`,
    onRequest: (request, _reply, done) => {
      const { headers } = request.raw;
      const given = headers["content-type"];
      if (given !== undefined) headers["content-type"] = readableType(given);
      done();
    },
    handler: (request, reply) => {
      const body = request.body as Buffer | undefined;
      const { raw } = request;
      const work = async (): Promise<HttpAnswer> => {
        if (isUnknownPatch(raw)) return NO_MERGE_PATCH;
        const asked = readVaultRequest(raw, { body, authority, connection: connectionOf(raw.socket) });
        return toHttpAnswer(asked.operation, await api.answer(asked));
      };
      void answerer.run(takeOver(request, reply, routeOf(raw.url)), work, vaultErrorAnswer);
    },
  });
}

function readableType(given: string): string {
  if (given === "application/json") return given;
  const type = mediaType(given);
  return READABLE_TYPE.test(type) ? type : NO_TYPE;
}

/** What of a path may be a label: mounts have names that clients choose. */
function routeOf(url: string | undefined): string {
  if (url?.startsWith("/v1/sys/") === true) return "/v1/sys/*";
  return url?.startsWith("/v1/auth/") === true ? "/v1/auth/*" : "/v1/*";
}
