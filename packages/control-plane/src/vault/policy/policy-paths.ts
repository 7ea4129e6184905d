import { z } from "zod";

import { RksError } from "@rk8s/protocol";

import type { Answer } from "../backend.js";
import { text } from "../field-types.js";
import { type BackendPath, operation, parameter } from "../path-table.js";
import type { PolicyStore } from "./policy-store.js";

/** Bytes of a policy document, with room for the escapes of JSON in JSON. */
const MAX_DOCUMENT = 256 * 1024;

/** The paths `sys/policies/acl` and, for older clients, `sys/policy`; relative to `sys/`. */
export function policyPaths(policies: PolicyStore): readonly BackendPath[] {
  return [...pathsUnder(policies, "policies/acl", "policy"), ...pathsUnder(policies, "policy", "rules")];
}

function pathsUnder(
  policies: PolicyStore,
  path: string,
  textName: "policy" | "rules",
): readonly BackendPath[] {
  const isOld = textName === "rules";
  const listing = {
    summary: "List the names of the policies.",
    handle: async (): Promise<Answer> => {
      const keys = await policies.list();
      return isOld ? { data: { keys, policies: keys }, form: "repeated" } : { data: { keys } };
    },
  };
  return [
    { pattern: path, operations: { list: operation(listing), read: operation(listing) } },
    {
      pattern: `${path}/:name`,
      operations: {
        read: operation({
          summary: "Read a policy's document.",
          handle: async (request): Promise<Answer | undefined> => {
            const name = parameter(request, "name").toLowerCase();
            const document = await policies.read(name);
            if (document === undefined) return undefined;
            return { data: { name, [textName]: document }, form: isOld ? "repeated" : "envelope" };
          },
        }),
        update: operation({
          summary: "Write a policy, HCL or JSON.",
          fields: z.object({
            policy: text("", { maxCharacters: MAX_DOCUMENT }),
            rules: text("", { maxCharacters: MAX_DOCUMENT }),
          }),
          handle: async (request) => {
            const { policy, rules } = request.fields;
            const document = policy === "" ? rules : policy;
            if (document === "") throw noDocument();
            await policies.write(parameter(request, "name"), document);
            return undefined;
          },
        }),
        delete: operation({
          summary: "Delete a policy.",
          handle: async (request) => {
            await policies.delete(parameter(request, "name"));
            return undefined;
          },
        }),
      },
    },
  ];
}

function noDocument(): RksError {
  return new RksError("INPUT_INVALID", `field "policy" is empty`, {
    suggestion: `Give the policy's document as "policy".`,
  });
}
