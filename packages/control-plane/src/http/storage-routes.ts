import { Secret } from "@rk8s/protocol";
import { z } from "zod";
import { MAX_STORE_ENDPOINTS, parseStoreEndpoint, parseStorePrefix } from "../config/store-endpoint.js";
import type { StoreConfig } from "../config/config.js";
import { data } from "./http-answer.js";
import type { OperatorApi } from "./operator-api.js";
import { readJsonBody } from "./request-body.js";
import type { Route } from "./route.js";

const MAX_OWNERS = 32;
const certificatesBody = z.strictObject({
  endpoints: z.array(z.string().max(300)).max(MAX_OWNERS).optional(),
  /** Names of other hosts that run rks, for their folders. */
  hosts: z
    .array(z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/i))
    .max(MAX_OWNERS)
    .optional(),
});
const backupBody = z.strictObject({ file: z.string().max(4096).startsWith("/") });
const noBody = z.strictObject({});
const file = z.string().min(1).max(4096);
/** The store that is named, as `StoreConfig` with everything as text. */
const storeBody = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("local") }),
  z.strictObject({
    type: z.literal("etcd"),
    endpoints: z.array(z.string().max(300)).min(1).max(MAX_STORE_ENDPOINTS),
    prefix: z.string(),
  }),
  z.strictObject({ type: z.literal("sql"), url: z.string().min(1).max(4096) }),
  z.strictObject({ type: z.literal("sql-file"), file }),
]);
export type StoreBody = z.input<typeof storeBody>;

/**
 * What `rks storage` asks of the control plane that runs. For the socket alone: whoever moves a store decides where every
 * secret is kept, which no policy of the vault grants.
 */
export function storageRoutes(api: OperatorApi): readonly Route[] {
  return [
    {
      method: "GET",
      pattern: "/v1/rk8s/storage",
      asks: "read",
      handle: () => Promise.resolve(data(api.storeStatus())),
    },
    {
      method: "POST",
      pattern: "/v1/rk8s/storage/migrate",
      asks: "update",
      handle: async ({ request, authority }) => {
        const to = storeOf(await readJsonBody(request, storeBody));
        return data(await api.migrateStore(to, authority));
      },
    },
    {
      method: "POST",
      pattern: "/v1/rk8s/storage/certificates",
      asks: "update",
      handle: async ({ request }) => {
        const { endpoints = [], hosts = [] } = await readJsonBody(request, certificatesBody);
        const owners = [
          ...endpoints.map((endpoint) => ({ endpoint: parseStoreEndpoint(endpoint) })),
          ...hosts.map((host) => ({ host })),
        ];
        const folders: string[] = [];
        for (const owner of owners) folders.push(await api.makeStoreFiles(owner));
        return data({ folders });
      },
    },
    {
      method: "POST",
      pattern: "/v1/rk8s/storage/backup",
      asks: "update",
      handle: async ({ request, authority, signal }) => {
        const asked = await readJsonBody(request, backupBody);
        return data(await api.backupStore(asked.file, { actor: authority.actor, signal }));
      },
    },
    {
      method: "POST",
      pattern: "/v1/rk8s/storage/verify",
      asks: "update",
      handle: async ({ request, signal }) => {
        await readJsonBody(request, noBody);
        return data(await api.verifyStore(signal));
      },
    },
  ];
}

/** @throws {RksError} INPUT_INVALID for an endpoint that is none, CONFIG_INVALID for a prefix that cannot be used. */
function storeOf(body: z.output<typeof storeBody>): StoreConfig {
  switch (body.type) {
    case "local":
      return body;
    case "etcd":
      return {
        ...body,
        endpoints: body.endpoints.map(parseStoreEndpoint),
        prefix: parseStorePrefix(body.prefix),
      };
    case "sql":
      return { type: "sql", url: new Secret(body.url) };
    case "sql-file":
      return { type: "sql", url: { file: body.file } };
    default:
      return body satisfies never;
  }
}
