import { z } from "zod";

import type { Answer, JsonObject } from "../backend.js";
import { flag, object, requiredText, text } from "../field-types.js";
import { type BackendPath, operation, parameter } from "../path-table.js";
import type { AuditBroker } from "./audit-broker.js";
import type { AuditDeviceEntry } from "./device-table.js";

/** The audited values can be as long as any. */
const MAX_INPUT_CHARACTERS = 1_048_576;

/** The paths `sys/audit`, `sys/audit-hash` and `sys/audit-head`; relative to `sys/`. Enabling and disabling are recorded like all requests. */
export function auditPaths(broker: AuditBroker): readonly BackendPath[] {
  const list = operation({
    access: "sudo",
    summary: "List the audit devices.",
    handle: (): Answer => ({
      data: Object.fromEntries(broker.list().map((entry) => [entry.path, describeDevice(entry)])),
      form: "repeated",
    }),
  });
  return [
    { pattern: "audit", operations: { read: list, list } },
    {
      pattern: "audit/*path",
      operations: {
        update: operation({
          access: "sudo",
          summary: "Enable an audit device.",
          fields: z.object({
            type: requiredText(),
            description: text(""),
            options: object(),
            local: flag(false),
          }),
          handle: async (request) => {
            const { options = {}, ...rest } = request.fields;
            const warnings = await broker.enable(parameter(request, "path"), { ...rest, options });
            return warnings.length === 0 ? undefined : { warnings };
          },
        }),
        delete: operation({
          access: "sudo",
          summary: "Disable an audit device.",
          handle: async (request) => {
            await broker.disable(parameter(request, "path"));
            return undefined;
          },
        }),
      },
    },
    {
      pattern: "audit-hash/*path",
      operations: {
        update: operation({
          summary: "Tell what a value looks like in an audit device's lines.",
          fields: z.object({ input: requiredText({ maxCharacters: MAX_INPUT_CHARACTERS }) }),
          handle: (request) => ({
            data: { hash: broker.hash(parameter(request, "path"), request.fields.input) },
            form: "repeated",
          }),
        }),
      },
    },
    {
      pattern: "audit-head/*path",
      operations: {
        read: operation({
          summary: "Tell which line an audit device wrote last, to compare its file with.",
          handle: (request) => {
            const { filePath, sequence, sha256 } = broker.head(parameter(request, "path"));
            return { data: { file_path: filePath, sequence, sha256 }, form: "repeated" };
          },
        }),
      },
    },
  ];
}

function describeDevice({ path, type, description, options, local }: AuditDeviceEntry): JsonObject {
  return { path, type, description, options, local };
}
