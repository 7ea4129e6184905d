import { randomUUID } from "node:crypto";

import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { Answer, PathRequest } from "../../vault/backend.js";
import { requiredText } from "../../vault/field-types.js";
import { type BackendPath, operation, parameter, type PathOperation } from "../../vault/path-table.js";
import type { ApproleStore, FoundSecretId } from "./approle-store.js";
import { describeSecretId, isExpired, readSecretId, secretIdFields } from "./secret-id.js";

const MAX_SECRET_ID_CHARACTERS = 4096;
const secretText = requiredText({ maxCharacters: MAX_SECRET_ID_CHARACTERS });

/** What is below `role/:name` about secret ids: make, list, look up and destroy them, by themselves or by accessor. */
export function secretIdPaths(store: ApproleStore): readonly BackendPath[] {
  const bySecret: Finder<{ secret_id: string }> = (uid, fields) => store.findSecretId(uid, fields.secret_id);
  const byAccessor: Finder<{ secret_id_accessor: string }> = async (uid, fields) => {
    const found = await store.findByAccessor(uid, fields.secret_id_accessor);
    if (found !== undefined) return found;
    throw new RksError("NOT_FOUND", "failed to find accessor entry for the secret id accessor", {
      suggestion: "List the accessors of the role.",
    });
  };
  const secretFields = z.object({ secret_id: secretText });
  const accessorFields = z.object({ secret_id_accessor: requiredText() });
  return [
    secretIds(store),
    {
      pattern: "role/:name/custom-secret-id",
      operations: {
        update: operation({
          summary: "Make a secret id that the caller chooses.",
          fields: secretIdFields.extend({ secret_id: secretText }),
          handle: (request) => generate(store, request, request.fields.secret_id),
        }),
      },
    },
    {
      pattern: "role/:name/secret-id/lookup",
      operations: { update: lookup(store, secretFields, bySecret) },
    },
    {
      pattern: "role/:name/secret-id/destroy",
      operations: both(destroy(store, secretFields, bySecret)),
    },
    {
      pattern: "role/:name/secret-id-accessor/lookup",
      operations: { update: lookup(store, accessorFields, byAccessor) },
    },
    {
      pattern: "role/:name/secret-id-accessor/destroy",
      operations: both(destroy(store, accessorFields, byAccessor)),
    },
  ];
}

type Finder<Fields> = (uid: string, fields: Fields) => Promise<FoundSecretId | undefined>;

/** Clients delete with either verb. */
function both(one: PathOperation): BackendPath["operations"] {
  return { update: one, delete: one };
}

function secretIds(store: ApproleStore): BackendPath {
  return {
    pattern: "role/:name/secret-id",
    operations: {
      update: operation({
        summary: "Make a secret id.",
        fields: secretIdFields,
        handle: (request) => generate(store, request, randomUUID()),
      }),
      list: operation({
        summary: "List the accessors of the secret ids.",
        handle: async (request) => {
          const { record } = await store.requireRole(parameter(request, "name"));
          const keys = await store.accessors(record.uid);
          return keys.length === 0 ? undefined : { data: { keys } };
        },
      }),
    },
  };
}

async function generate(
  store: ApproleStore,
  request: PathRequest<z.output<typeof secretIdFields>>,
  text: string,
): Promise<Answer> {
  const role = await store.requireRole(parameter(request, "name"));
  if (!role.record.bindSecretId) {
    throw new RksError("INPUT_INVALID", "bind_secret_id is not set on the role", {
      suggestion: "Log in with the role id alone, or set bind_secret_id.",
    });
  }
  const nowMs = store.clock.now();
  const { maxTtlSeconds } = store.mount;
  const secret = readSecretId(request.fields, role.record, { accessor: randomUUID(), nowMs, maxTtlSeconds });
  await store.addSecretId(role, text, secret);
  return {
    data: {
      secret_id: text,
      secret_id_accessor: secret.accessor,
      secret_id_num_uses: secret.usesLeft,
      secret_id_ttl: secret.ttlSeconds,
    },
  };
}

function lookup<Schema extends z.ZodObject>(
  store: ApproleStore,
  fields: Schema,
  find: Finder<z.output<Schema>>,
): PathOperation {
  return operation({
    summary: "Tell what a secret id is good for.",
    fields,
    handle: async (request) => {
      const role = await store.requireRole(parameter(request, "name"));
      const found = await find(role.record.uid, request.fields);
      if (found === undefined || isExpired(found.record, store.clock.now())) return undefined;
      return { data: describeSecretId(found.record) };
    },
  });
}

function destroy<Schema extends z.ZodObject>(
  store: ApproleStore,
  fields: Schema,
  find: Finder<z.output<Schema>>,
): PathOperation {
  return operation({
    summary: "Destroy a secret id.",
    fields,
    handle: async (request) => {
      const role = await store.requireRole(parameter(request, "name"));
      for (let isGone = false; !isGone;) {
        const found = await find(role.record.uid, request.fields);
        isGone = found === undefined || (await store.removeSecretId(found));
      }
      return undefined;
    },
  });
}
