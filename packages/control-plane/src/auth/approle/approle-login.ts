import { RksError } from "@rk8s/protocol";
import { z } from "zod";

import type { Answer, Commit, Connection, JsonObject } from "../../vault/backend.js";
import { text } from "../../vault/field-types.js";
import { type BackendPath, operation } from "../../vault/path-table.js";
import { toLoginGrant } from "../../vault/token/token-parameters.js";
import { isFrom } from "../bound-networks.js";
import type { ApproleRole } from "./approle-role.js";
import type { ApproleStore, FoundRole, FoundSecretId } from "./approle-store.js";
import { isExpired, type SecretId } from "./secret-id.js";

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
  if ((await store.roles.read(role))?.record.uid === uid) return;
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
  if (!role.record.bindSecretId) {
    assertFrom(role.record.secretIdCidrs, connection);
    return { login: grant(role, undefined) };
  }
  if (given.secret_id === "") throw missing("secret_id");
  const { uid, secretIdCidrs } = role.record;
  const { record: secret } = await findUsable(store, uid, given.secret_id);
  assertFrom(secretIdCidrs, connection);
  assertFrom(secret.cidrs, connection);
  assertFrom(tokenCidrs(role.record, secret), connection);
  const commit = async (): Promise<Commit> => store.use(await findUsable(store, uid, given.secret_id));
  return { login: { ...grant(role, secret), commit } };
}

async function findUsable(store: ApproleStore, uid: string, secretId: string): Promise<FoundSecretId> {
  const found = await store.findSecretId(uid, secretId);
  if (found === undefined || isExpired(found.record, store.clock.now())) throw invalid();
  return found;
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
