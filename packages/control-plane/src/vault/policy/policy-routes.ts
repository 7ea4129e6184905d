import { requiredText, textField } from "../fields.js";
import type { PolicyStore } from "./policy-store.js";
import type { Route, RouteRequest } from "../route.js";

/** The paths under `sys/policies/acl` and, for older clients, `sys/policy`. */
export function policyRoutes(policies: PolicyStore): readonly Route[] {
  return [
    ...pathsUnder(policies, "sys/policies/acl", "policy"),
    ...pathsUnder(policies, "sys/policy", "rules"),
  ];
}

function pathsUnder(policies: PolicyStore, path: string, textName: "policy" | "rules"): readonly Route[] {
  const list: Route["handle"] = async () => {
    const keys = await policies.list();
    return { data: textName === "rules" ? { keys, policies: keys } : { keys } };
  };
  const write: Route["handle"] = async ({ rest, data }: RouteRequest) => {
    const text = textField(data, "policy") ?? requiredText(data, textName);
    await policies.write(rest, text);
    return undefined;
  };
  return [
    { path, operation: "list", access: "token", handle: list },
    { path, operation: "read", access: "token", handle: list },
    {
      path: `${path}/*`,
      operation: "read",
      access: "token",
      handle: async ({ rest }) => {
        const text = await policies.read(rest);
        return text === undefined ? undefined : { data: { name: rest.toLowerCase(), [textName]: text } };
      },
    },
    { path: `${path}/*`, operation: "update", access: "token", handle: write },
    {
      path: `${path}/*`,
      operation: "delete",
      access: "token",
      handle: async ({ rest }) => {
        await policies.delete(rest);
        return undefined;
      },
    },
  ];
}
