import { RksError } from "@rk8s/protocol";
import { z } from "zod";
import type { VaultStatus } from "../vault/vault.js";
import { describeStatus } from "../vault/sys/seal-paths.js";
import type { OperatorApi } from "./operator-api.js";
import { readJsonBody } from "./request-body.js";
import type { Route } from "./router.js";

const unsealBody = z.object({ key: z.string().max(1024).optional(), reset: z.boolean().optional() });

/** Vault's own paths that concern the seal, in Vault's shapes. */
export function sysRoutes(api: OperatorApi): readonly Route[] {
  return [
    {
      methods: ["GET"],
      pattern: "/v1/sys/seal-status",
      allows: "nobody",
      handle: () => Promise.resolve({ status: 200, body: sealStatusBody(api.sealStatus()) }),
    },
    {
      methods: ["GET"],
      pattern: "/v1/sys/health",
      allows: "nobody",
      handle: () => Promise.resolve(healthAnswer(api.sealStatus())),
    },
    {
      methods: ["POST", "PUT"],
      pattern: "/v1/sys/unseal",
      allows: "nobody",
      handle: async ({ request }) => {
        const { key, reset } = await readJsonBody(request, unsealBody);
        if (reset === true) return { status: 200, body: sealStatusBody(await api.resetUnseal()) };
        if (key === undefined || key.trim() === "") {
          throw new RksError("INPUT_INVALID", "the request has no unseal key", {
            suggestion: "Send one share as `key`.",
          });
        }
        return { status: 200, body: sealStatusBody(await api.unseal(key)) };
      },
    },
    {
      methods: ["POST", "PUT"],
      pattern: "/v1/sys/seal",
      allows: "operator",
      handle: async () => {
        await api.seal();
        return { status: 204 };
      },
    },
  ];
}

function sealStatusBody(status: VaultStatus): object {
  return { ...describeStatus(status), storage_type: "lmdb" };
}

/** Vault's health codes: 200 unsealed, 501 not initialised, 503 sealed. */
function healthAnswer(status: VaultStatus): { readonly status: number; readonly body: object } {
  const code = status.sealed ? 503 : 200;
  return {
    status: status.initialized ? code : 501,
    body: {
      initialized: status.initialized,
      sealed: status.sealed,
      standby: false,
      performance_standby: false,
      replication_performance_mode: "disabled",
      replication_dr_mode: "disabled",
      server_time_utc: Math.floor(Date.now() / 1000),
      version: status.version,
    },
  };
}
