import { expect, test } from "vitest";
import { z } from "zod";

import { parseFields } from "../field-types.js";
import type { JsonObject } from "../backend.js";
import {
  DEFAULT_TOKEN_PARAMETERS,
  describeTokenParameters,
  readTokenParameters,
  tokenParameterFields,
  type TokenParameters,
  tokenParameters,
  toLoginGrant,
} from "./token-parameters.js";

const schema = z.object(tokenParameterFields);

function read(data: JsonObject, stored?: TokenParameters): TokenParameters {
  return readTokenParameters(parseFields(schema, data, "role"), stored);
}

test("what is not given stays as it was, and the newer spelling counts", () => {
  const first = read({
    ttl: "1h",
    token_policies: "Web,db,web",
    num_uses: "3",
    token_bound_cidrs: "10.1.2.3/8",
  });
  expect(first).toEqual({
    ...DEFAULT_TOKEN_PARAMETERS,
    ttlSeconds: 3600,
    policies: ["db", "web"],
    numUses: 3,
    boundCidrs: ["10.0.0.0/8"],
  });
  expect(read({ ttl: "2h", token_ttl: 60, token_type: "service" }, first)).toEqual({
    ...first,
    ttlSeconds: 60,
    type: "service",
  });
  expect(read({ token_policies: [], bound_cidrs: [] }, first)).toMatchObject({
    policies: [],
    boundCidrs: [],
  });
});

test("is described in Vault's names, and kept as it is", () => {
  expect(describeTokenParameters(DEFAULT_TOKEN_PARAMETERS)).toEqual({
    token_ttl: 0,
    token_max_ttl: 0,
    token_explicit_max_ttl: 0,
    token_period: 0,
    token_policies: [],
    token_no_default_policy: false,
    token_bound_cidrs: [],
    token_num_uses: 0,
    token_type: "default",
  });
  expect(tokenParameters.parse(JSON.parse(JSON.stringify(DEFAULT_TOKEN_PARAMETERS)))).toEqual(
    DEFAULT_TOKEN_PARAMETERS,
  );
});

test.each([
  { type: "default", tokenType: undefined },
  { type: "service", tokenType: "service" },
  { type: "default-service", tokenType: "service" },
  { type: "batch", tokenType: "batch" },
  { type: "default-batch", tokenType: "batch" },
])("a login through a role of type $type gives a $tokenType token", ({ type, tokenType }) => {
  const grant = toLoginGrant(read({ token_type: type, token_max_ttl: 60 }), { displayName: "x" });
  expect(grant.tokenType).toBe(tokenType);
  expect(grant).toMatchObject({ displayName: "x", maxTtlSeconds: 60 });
});

test.each([
  { name: "the root policy", data: { token_policies: ["root"] } },
  { name: "the policy of wrapped answers", data: { policies: "response-wrapping" } },
  { name: "a policy name with a slash", data: { policies: "a/b" } },
  { name: "a network that is none", data: { token_bound_cidrs: ["10.0.0.0/40"] } },
  { name: "too many networks", data: { token_bound_cidrs: Array.from({ length: 65 }, () => "::1") } },
  { name: "too many policies", data: { policies: Array.from({ length: 257 }, (_, index) => `p${index}`) } },
  { name: "an unknown type", data: { token_type: "magic" } },
  { name: "batch tokens with uses", data: { token_type: "batch", token_num_uses: 1 } },
  { name: "batch tokens with a period", data: { token_type: "default-batch", token_period: 1 } },
  { name: "a lifetime longer than the longest", data: { token_ttl: "2h", token_max_ttl: "1h" } },
])("$name is refused", ({ data }) => {
  expect(() => read(data)).toThrow(expect.objectContaining({ code: "INPUT_INVALID" }) as Error);
});
