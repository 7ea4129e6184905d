import { RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { z } from "zod";

import type { Answer, PathRequest } from "../backend.js";
import { duration, requiredText, text } from "../field-types.js";
import { type BackendPath, callerOf, operation, parameter, PathTable } from "../path-table.js";
import { describeToken } from "./token-answer.js";
import { createToken, creationFields, type CreationPorts } from "./token-creation.js";
import { MAX_BATCH_TOKEN_CHARACTERS } from "./batch-token.js";
import { scanTokens } from "./token-scan.js";
import { renewToken, type RenewalPorts } from "./token-renewal.js";
import { describeTokenRole, type TokenRoles, tokenRoleFields } from "./token-role.js";
import type { LiveToken, TokenStore } from "./token-store.js";

export interface TokenPathsPorts extends CreationPorts, RenewalPorts {
  readonly tokens: TokenStore;
  readonly roles: TokenRoles;
  readonly storage: Storage;
  readonly clock: { now(): number };
  /** Begin to remove what is left over; gives false while it is being done already. */
  readonly startTidy: () => boolean;
}

const tokenText = { maxCharacters: MAX_BATCH_TOKEN_CHARACTERS };
const byToken = z.object({ token: requiredText(tokenText) });
const byAccessor = z.object({ accessor: requiredText({ maxCharacters: 256 }) });
const increment = duration(0);

/** The login method `token`: the paths under `auth/token/`. */
export function tokenPaths(ports: TokenPathsPorts): PathTable {
  return new PathTable([
    ...creationPaths(ports),
    ...lookupPaths(ports),
    ...renewalPaths(ports),
    ...revocationPaths(ports),
    ...rolePaths(ports),
  ]);
}

function creationPaths(ports: TokenPathsPorts): readonly BackendPath[] {
  return [
    {
      pattern: "create",
      operations: {
        update: operation({
          summary: "Make a token.",
          fields: creationFields,
          handle: (request) => createToken(ports, { caller: callerOf(request), fields: request.fields }),
        }),
      },
    },
    {
      pattern: "create-orphan",
      operations: {
        update: operation({
          summary: "Make a token that has no parent.",
          fields: creationFields,
          handle: (request) =>
            createToken(ports, { caller: callerOf(request), fields: request.fields, makesOrphans: true }),
        }),
      },
    },
    {
      pattern: "create/:role_name",
      operations: {
        update: operation({
          summary: "Make a token as a role says.",
          fields: creationFields,
          handle: async (request) => {
            const name = parameter(request, "role_name");
            const role = await ports.roles.read(name);
            if (role === undefined) throw invalid(`there is no token role "${name.slice(0, 80)}"`);
            return createToken(ports, {
              caller: callerOf(request),
              fields: request.fields,
              role: { name, role },
            });
          },
        }),
      },
    },
  ];
}

function lookupPaths({ tokens, storage, clock }: TokenPathsPorts): readonly BackendPath[] {
  const lookUp = (token: LiveToken, id: string): Answer => ({
    data: describeToken(token.entry, id, clock.now()),
  });
  const lookupSelf = {
    summary: "Describe the token of the request.",
    handle: (request: PathRequest<unknown>): Answer =>
      lookUp(callerOf(request).token, callerOf(request).secret.reveal()),
  };
  const lookup = operation({
    summary: "Describe a token; that of the request when none is named.",
    fields: z.object({ token: text("", tokenText) }),
    handle: async (request) => {
      const { token } = request.fields;
      if (token === "") return lookupSelf.handle(request);
      const found = await tokens.find(token);
      if (found === undefined) throw badToken("bad token");
      return lookUp(found, token);
    },
  });
  return [
    { pattern: "lookup", operations: { read: lookup, update: lookup } },
    { pattern: "lookup-self", operations: { read: operation(lookupSelf), update: operation(lookupSelf) } },
    {
      pattern: "lookup-accessor",
      operations: {
        update: operation({
          summary: "Describe the token of an accessor.",
          fields: byAccessor,
          handle: async ({ fields }) => {
            const found = await tokens.findByAccessor(fields.accessor);
            if (found === undefined) throw badToken("invalid accessor");
            return lookUp(found, "");
          },
        }),
      },
    },
    {
      pattern: "accessors",
      operations: {
        list: operation({
          access: "sudo",
          summary: "List the accessors of all tokens.",
          handle: async () => {
            const keys: string[] = [];
            for await (const token of scanTokens(storage)) {
              if (tokens.isUsable(token)) keys.push(token.entry.accessor);
            }
            return keys.length === 0 ? undefined : { data: { keys } };
          },
        }),
      },
    },
  ];
}

function renewalPaths(ports: TokenPathsPorts): readonly BackendPath[] {
  const { tokens } = ports;
  return [
    {
      pattern: "renew",
      operations: {
        update: operation({
          summary: "Make a token live longer; that of the request when none is named.",
          fields: z.object({ token: text("", tokenText), increment }),
          handle: async (request) => {
            const { fields } = request;
            const { token, secret } = callerOf(request);
            if (fields.token === "") return renewToken(ports, token, secret.reveal(), fields.increment);
            return renewToken(
              ports,
              assertFound(await tokens.find(fields.token)),
              fields.token,
              fields.increment,
            );
          },
        }),
      },
    },
    {
      pattern: "renew-self",
      operations: {
        update: operation({
          summary: "Make the token of the request live longer.",
          fields: z.object({ increment }),
          handle: (request) => {
            const { token, secret } = callerOf(request);
            return renewToken(ports, token, secret.reveal(), request.fields.increment);
          },
        }),
      },
    },
    {
      pattern: "renew-accessor",
      operations: {
        update: operation({
          summary: "Make the token of an accessor live longer.",
          fields: byAccessor.extend({ increment }),
          handle: async ({ fields }) => {
            const token = await tokens.findByAccessor(fields.accessor);
            if (token === undefined) throw invalid("invalid accessor");
            return renewToken(ports, token, "", fields.increment);
          },
        }),
      },
    },
  ];
}

function revocationPaths({ tokens, startTidy }: TokenPathsPorts): readonly BackendPath[] {
  const revoke = async ({ hash, entry }: LiveToken): Promise<undefined> => {
    if (entry.type === "batch") throw invalid("batch tokens cannot be revoked");
    await tokens.revoke(hash);
    return undefined;
  };
  return [
    {
      pattern: "revoke",
      operations: {
        update: operation({
          summary: "Revoke a token and all that descend from it.",
          fields: byToken,
          handle: async ({ fields }) => revoke(assertFound(await tokens.find(fields.token))),
        }),
      },
    },
    {
      pattern: "revoke-self",
      operations: {
        update: operation({
          summary: "Revoke the token of the request and all that descend from it.",
          handle: (request) => revoke(callerOf(request).token),
        }),
      },
    },
    {
      pattern: "revoke-accessor",
      operations: {
        update: operation({
          summary: "Revoke the token of an accessor and all that descend from it.",
          fields: byAccessor,
          handle: async ({ fields }) => {
            const token = await tokens.findByAccessor(fields.accessor);
            if (token === undefined) throw invalid("invalid accessor");
            return revoke(token);
          },
        }),
      },
    },
    {
      pattern: "revoke-orphan",
      operations: {
        update: operation({
          access: "sudo",
          summary: "Revoke a token and leave its children alive, as orphans.",
          fields: byToken,
          handle: async ({ fields }) => {
            const { hash, entry } = assertFound(await tokens.find(fields.token));
            if (entry.type === "batch") throw invalid("batch tokens cannot be revoked");
            await tokens.revokeOrphaning(hash);
            return undefined;
          },
        }),
      },
    },
    {
      pattern: "tidy",
      operations: {
        update: operation({
          summary: "Remove what revoked and expired tokens may have left over.",
          handle: () => ({
            warnings: [
              startTidy() ? "Tidying has begun and goes on by itself." : "Tidying is under way already.",
            ],
          }),
        }),
      },
    },
  ];
}

function rolePaths({ roles }: TokenPathsPorts): readonly BackendPath[] {
  const listing = operation({
    summary: "List the names of the token roles.",
    handle: async () => {
      const keys = await roles.list();
      return keys.length === 0 ? undefined : { data: { keys } };
    },
  });
  return [
    { pattern: "roles", operations: { list: listing } },
    {
      pattern: "roles/:role_name",
      exists: async ({ role_name = "" }) => (await roles.read(role_name)) !== undefined,
      operations: {
        read: operation({
          summary: "Read a token role.",
          handle: async (request) => {
            const name = parameter(request, "role_name");
            const role = await roles.read(name);
            return role === undefined ? undefined : { data: describeTokenRole(name, role) };
          },
        }),
        update: operation({
          summary: "Make or change a token role.",
          fields: tokenRoleFields,
          handle: async (request) => {
            await roles.write(parameter(request, "role_name"), request.fields);
            return undefined;
          },
        }),
        delete: operation({
          summary: "Delete a token role. Tokens made through it stay.",
          handle: async (request) => {
            await roles.delete(parameter(request, "role_name"));
            return undefined;
          },
        }),
      },
    },
  ];
}

function assertFound(token: LiveToken | undefined): LiveToken {
  if (token !== undefined) return token;
  throw invalid("token not found");
}

function badToken(message: string): RksError {
  return new RksError("PERMISSION_DENIED", message, {
    suggestion: "It may have expired or been revoked; make a new one.",
  });
}

function invalid(message: string): RksError {
  return new RksError("INPUT_INVALID", message, {
    suggestion: "Name a token, accessor or role that exists.",
  });
}
