import { type Clock, decodeBase64Url, loginProofTranscript, RksError } from "@rk8s/protocol";
import type { Storage } from "@rk8s/storage";
import { z } from "zod";

import type {
  Answer,
  Backend,
  BackendFactory,
  Commit,
  Connection,
  JsonObject,
  LoginGrant,
  MountInit,
} from "../../vault/backend.js";
import { requiredText, text } from "../../vault/field-types.js";
import { type BackendPath, operation, PathTable } from "../../vault/path-table.js";
import { toLoginGrant } from "../../vault/token/token-parameters.js";
import { isFrom } from "../bound-networks.js";
import { roleName, rolePaths } from "../role-paths.js";
import { StoredRecords } from "../stored-records.js";
import type { JoinTokenFacts, JoinTokenKeys } from "./join-token-keys.js";
import {
  assertBound,
  describeRole,
  joinTokenRole,
  type JoinTokenRole,
  readRole,
  roleFields,
} from "./join-token-role.js";
import { LoginNonces, NONCE_SECONDS } from "./login-nonces.js";

const TOKEN_ID = /^[0-9a-f]{16}$/;
const SIGNATURE_BYTES = 64;

export interface JoinTokenLoginPorts {
  readonly clock: Clock;
  /** The cluster's join tokens, behind the barrier of the unsealed vault. */
  readonly keys: (barrier: Storage) => JoinTokenKeys;
}

/**
 * The `join-token` login method: whoever holds one of the cluster's join tokens logs in by signing a challenge with it; the
 * token itself is sent nowhere. What the login gives ends with the join token. See docs/adr/0015.
 */
export function joinTokenLogin({ clock, keys }: JoinTokenLoginPorts): BackendFactory {
  return (mount, storage) => Promise.resolve(new JoinTokenBackend(mount, storage, clock, keys(storage)));
}

const loginFields = z.object({
  token_id: requiredText({ maxCharacters: 64 }),
  nonce: requiredText({ maxCharacters: 128 }),
  proof: requiredText({ maxCharacters: 128 }),
  role: text("", { maxCharacters: 128 }),
});

class JoinTokenBackend implements Backend {
  readonly paths: PathTable;
  readonly #mount: MountInit;
  readonly #clock: Clock;
  readonly #keys: JoinTokenKeys;
  readonly #roles: StoredRecords<JoinTokenRole>;
  readonly #nonces: LoginNonces;

  constructor(mount: MountInit, storage: Storage, clock: Clock, keys: JoinTokenKeys) {
    this.#mount = mount;
    this.#clock = clock;
    this.#keys = keys;
    this.#roles = new StoredRecords(storage, `${mount.storagePrefix}role/`, joinTokenRole);
    this.#nonces = new LoginNonces(clock);
    this.paths = new PathTable([
      this.#challengePath(),
      {
        pattern: "login",
        operations: {
          update: operation({
            access: "anyone",
            summary: "Log in by the proof that one holds a join token.",
            fields: loginFields,
            handle: ({ fields, connection }) => this.#logIn(fields, connection),
          }),
        },
      },
      ...rolePaths({
        folder: "role",
        records: this.#roles,
        fields: roleFields,
        read: (fields, stored) => ({ record: readRole(fields, stored) }),
        describe: describeRole,
      }),
    ]);
  }

  async renewLogin(renewal: JsonObject): Promise<void> {
    const kept = z.object({ role: z.string(), tokenId: z.string() }).parse(renewal);
    const token = await this.#keys.find(kept.tokenId);
    if (token === undefined || token.isRevoked || token.expiresAtMs <= this.#clock.now()) {
      throw new RksError(
        "PERMISSION_DENIED",
        `join token "${kept.tokenId}" of this login is not good any more`,
        {
          suggestion: "Log in with another join token.",
        },
      );
    }
    assertBound(kept.role, (await this.#roles.read(kept.role))?.record, token);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  #challengePath(): BackendPath {
    return {
      pattern: "challenge",
      operations: {
        update: operation({
          access: "anyone",
          summary: "Get a nonce to sign; the same for tokens that exist and for others.",
          fields: z.object({ token_id: requiredText({ maxCharacters: 64 }) }),
          handle: ({ fields }) => {
            assertTokenId(fields.token_id);
            const nonce = this.#nonces.create(fields.token_id);
            return { data: { nonce, mount: this.#mount.path, ttl: NONCE_SECONDS } };
          },
        }),
      },
    };
  }

  /** Only who holds the token learns more than that the proof is no good, and nothing is used up before all is checked. */
  async #logIn(fields: z.output<typeof loginFields>, connection: Connection): Promise<Answer> {
    const { token_id: tokenId, nonce, proof, role: askedRole } = fields;
    assertTokenId(tokenId);
    this.#nonces.assertFresh(nonce, tokenId);
    const transcript = loginProofTranscript({ mount: this.#mount.path, tokenId, nonce, role: askedRole });
    const token = await this.#keys.verify(tokenId, transcript, readSignature(proof));
    if (token === undefined) throw invalid(tokenId);
    this.#nonces.take(nonce);
    const name = roleName(askedRole === "" ? token.role : askedRole);
    const role = (await this.#roles.read(name))?.record;
    assertBound(name, role, token);
    assertFrom(token, role, connection);
    const use = (): Promise<Commit> => this.#keys.use(tokenId, `vault login at ${this.#mount.path}`);
    // Who cannot use it hears why before anything is made of the login.
    await use();
    return { login: { ...this.#grant(name, role, token), commit: use } };
  }

  #grant(name: string, role: JoinTokenRole | undefined, token: JoinTokenFacts): LoginGrant {
    if (role === undefined) throw new TypeError("a role that lets a token in exists");
    const leftSeconds = Math.max(1, Math.floor((token.expiresAtMs - this.#clock.now()) / 1000));
    const { ttlSeconds, maxTtlSeconds, explicitMaxTtlSeconds, periodSeconds } = role.token;
    const within = (seconds: number): number =>
      seconds === 0 ? leftSeconds : Math.min(seconds, leftSeconds);
    const holder = token.node ?? token.id;
    const grant = toLoginGrant(role.token, {
      displayName: `${token.role}-${holder}`,
      aliasName: `${token.role}/${holder}`,
      metadata: { node: token.node ?? "", role: name, token_id: token.id, token_role: token.role },
      renewal: { role: name, tokenId: token.id },
    });
    return {
      ...grant,
      ttlSeconds: Math.min(ttlSeconds, leftSeconds),
      maxTtlSeconds: within(maxTtlSeconds),
      explicitMaxTtlSeconds: within(explicitMaxTtlSeconds),
      periodSeconds: Math.min(periodSeconds, leftSeconds),
    };
  }
}

function assertTokenId(id: string): void {
  if (TOKEN_ID.test(id)) return;
  throw new RksError("INPUT_INVALID", "the token id is not 16 hexadecimal digits", {
    suggestion: "Send the id of the join token, never the token itself.",
  });
}

function readSignature(proof: string): Uint8Array {
  const bytes = decodeBase64Url(proof.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, ""));
  if (bytes?.byteLength === SIGNATURE_BYTES) return bytes;
  throw new RksError(
    "INPUT_INVALID",
    `the proof is not a signature of ${SIGNATURE_BYTES} bytes in base64url`,
    {
      suggestion: "Sign with the Ed25519 key of the join token.",
    },
  );
}

/** Also where the token of the login may be used from, which the vault would refuse in other words. */
function assertFrom(token: JoinTokenFacts, role: JoinTokenRole | undefined, connection: Connection): void {
  const isAllowed =
    isFrom(token.cidr === null ? [] : [token.cidr], connection) &&
    isFrom(role?.token.boundCidrs ?? [], connection);
  if (isAllowed) return;
  throw new RksError("JOIN_TOKEN_SCOPE", `join token "${token.id}" does not log in from this address`, {
    suggestion: "Log in from a network that the join token and the login role allow.",
  });
}

/** One text for an unknown token and a bad proof. */
function invalid(id: string): RksError {
  return new RksError("JOIN_TOKEN_INVALID", `join token "${id}" is not valid`, {
    suggestion: "Check that the token is this cluster's, or ask for a new one: `rks gen join-token`.",
  });
}
