import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { Answer, Connection, JsonObject } from "../../vault/backend.js";
import { text } from "../../vault/field-types.js";
import { type BackendPath, operation } from "../../vault/path-table.js";
import { toLoginGrant } from "../../vault/token/token-parameters.js";
import { isFrom } from "../bound-networks.js";
import type { ApproleRole } from "./approle-role.js";
import type { ApproleStore, FoundRole } from "./approle-store.js";
import { isExpired, type SecretId } from "./secret-id.js";

/** Of many that use one secret id at the same time each round lets one through. */
const MAX_ATTEMPTS = 256;
/** Looked up where there is no role, so that it takes as long. */
const NO_ROLE = "00000000-0000-0000-0000-000000000000";

/** `login`, for anyone. */
export function approleLoginPath(store: ApproleStore): BackendPath {
  return {
    pattern: "login",
    operations: {
      update: operation({
        access: "anyone",
        summary: "Log in with a role id and a secret id.",
        fields: z.object({ role_id: text(""), secret_id: text("") }),
        handle: ({ fields, connection }) => logIn(store, fields, connection),
      }),
    },
  };
}

/** @throws {RksError} PERMISSION_DENIED when the role of a login is gone. */
export async function renewApproleLogin(store: ApproleStore, renewal: JsonObject): Promise<void> {
  const { role, uid } = z.object({ role: z.string(), uid: z.string() }).parse(renewal);
  if ((await store.roles.find(role))?.record.uid === uid) return;
  throw new RksError("PERMISSION_DENIED", `role "${role}" of this login does not exist any more`, {
    suggestion: "Log in again with another role.",
  });
}

interface Credentials {
  readonly role_id: string;
  readonly secret_id: string;
}

/** Every reason to refuse who does not hold a valid pair is the same answer after the same reads. */
async function logIn(store: ApproleStore, given: Credentials, connection: Connection): Promise<Answer> {
  if (given.role_id === "") throw missing("role_id");
  const role = await store.findRoleById(given.role_id);
  if (role === undefined) {
    await store.findSecretId(NO_ROLE, given.secret_id);
    throw invalid();
  }
  const secret = role.record.bindSecretId
    ? await useSecretId(store, role, given.secret_id, connection)
    : undefined;
  if (secret === undefined) assertFrom(role.record.secretIdCidrs, connection);
  return { login: grant(role, secret) };
}

async function useSecretId(
  store: ApproleStore,
  { record: role }: FoundRole,
  secretIdText: string,
  connection: Connection,
): Promise<SecretId> {
  if (secretIdText === "") throw missing("secret_id");
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
    const found = await store.findSecretId(role.uid, secretIdText);
    if (found === undefined || isExpired(found.record, store.clock.now())) throw invalid();
    // Before the use is taken: a refusal must not cost one.
    assertFrom(role.secretIdCidrs, connection);
    assertFrom(found.record.cidrs, connection);
    assertFrom(tokenCidrs(role, found.record), connection);
    if (await store.takeUse(found)) return found.record;
  }
  throw new RksError("BUSY", "the secret id is being used by many at this moment", {
    suggestion: "Try again.",
  });
}

function grant(
  { name, record: role }: FoundRole,
  secret: SecretId | undefined,
): NonNullable<Answer["login"]> {
  const login = toLoginGrant(role.token, {
    displayName: name,
    aliasName: role.roleId,
    metadata: { ...secret?.metadata, role_name: name },
    renewal: { role: name, uid: role.uid },
  });
  return { ...login, boundCidrs: tokenCidrs(role, secret) };
}

function tokenCidrs(role: ApproleRole, secret: SecretId | undefined): readonly string[] {
  return secret === undefined || secret.tokenCidrs.length === 0 ? role.token.boundCidrs : secret.tokenCidrs;
}

function assertFrom(cidrs: readonly string[], connection: Connection): void {
  if (isFrom(cidrs, connection)) return;
  const address = JSON.stringify(connection.remoteAddress?.slice(0, 80) ?? "unknown");
  throw new RksError(
    "INPUT_INVALID",
    `source address ${address} unauthorized through CIDR restrictions on the secret id`,
    { suggestion: "Log in from an address that role and secret id allow." },
  );
}

function missing(field: string): RksError {
  return new RksError("INPUT_INVALID", `missing ${field}`, { suggestion: `Give "${field}".` });
}

function invalid(): RksError {
  return new RksError("INPUT_INVALID", "invalid role or secret ID", {
    suggestion: "Check both, and make a new secret id if this one is used up or too old.",
  });
}
