import { sign } from "node:crypto";
import { existsSync } from "node:fs";
import type { CliIo } from "@rk8s/host/cli-io";
import { encodeBase64Url, loginProofTranscript, parseJoinToken, RksError, Secret } from "@rk8s/protocol";
import type { VaultClient, VaultDocument } from "../../http/vault-client.js";
import { STDIN_WORD } from "../flags.js";
import { printHint } from "../output.js";
import { readStdin } from "../secret-input.js";
import type { LoginMethod } from "./login-arguments.js";
import { printDocument, printReply } from "./reply-output.js";
import { dataOf } from "./reply-rows.js";
import { readData, type RequestData } from "./request-data.js";
import { vaultPath } from "./value-commands.js";
import type { VaultArguments } from "./vault-options.js";
import { findVault } from "./vault-target.js";

/** Where Kubernetes puts a pod's token. */
const SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token";
const NOT_STORED = "nothing is stored: export VAULT_TOKEN=$(rks login … --field token)";

export interface LoginArguments extends VaultArguments {
  readonly method: LoginMethod;
  readonly path?: string | undefined;
  readonly data: readonly string[];
}

/**
 * `rks login`: prints a token. It is never written to a file.
 * @throws {RksError} PERMISSION_DENIED, INPUT_INVALID, and as the vault answers.
 */
export async function login(args: LoginArguments, io: CliIo): Promise<void> {
  if (args.method === "token") await checkToken(args, io);
  else await logIn(args, io);
  if (args.field === undefined) printHint(io, NOT_STORED);
}

async function logIn(args: LoginArguments, io: CliIo): Promise<void> {
  const given = await withDefaults(args.method, await readData(args.data, io), io);
  const mount = `auth/${vaultPath(args.path ?? args.method).replace(/\/+$/, "")}/`;
  const { client, wrapTtl } = await findVault(args, io, { token: "none" });
  const body = args.method === "join-token" ? await proveJoinToken(client, mount, given) : given;
  const path = `${mount}login`;
  const reply = await client.ask({ method: "POST", path, body, wrapTtl });
  await printReply(reply, args, io, { subject: path, done: "no token was made" });
}

/**
 * The login fields of a join token: it signs a challenge of the vault, and is itself sent nowhere.
 * @throws {RksError} USAGE_INVALID without a token, JOIN_TOKEN_MALFORMED, and as the vault answers.
 */
async function proveJoinToken(client: VaultClient, mount: string, data: RequestData): Promise<RequestData> {
  const { token: text, role = "", ...others } = data;
  if (typeof text !== "string" || typeof role !== "string" || Object.keys(others).length > 0) {
    throw new RksError("USAGE_INVALID", "the method join-token takes a token, and perhaps a role", {
      suggestion: "Give token=@join.token and role=NAME.",
    });
  }
  const { id: tokenId, seed } = parseJoinToken(text);
  const path = `${mount}challenge`;
  const challenge = await client.ask({ method: "POST", path, body: { token_id: tokenId } });
  const nonce = challenge.type === "document" ? dataOf(challenge.document)["nonce"] : undefined;
  if (typeof nonce !== "string")
    throw new RksError("MESSAGE_INVALID", `"${path}" answered without a challenge`);
  const { importEd25519Seed } = await import("../../join/ed25519-key.js");
  const transcript = loginProofTranscript({ mount, tokenId, nonce, role });
  const proof = sign(null, transcript, importEd25519Seed(seed.reveal()));
  return { token_id: tokenId, nonce, proof: encodeBase64Url(proof), role };
}

/** A pod need not name its own token. */
async function withDefaults(method: LoginMethod, data: RequestData, io: CliIo): Promise<RequestData> {
  if (method !== "kubernetes") return data;
  if (data["jwt"] === undefined && existsSync(SERVICE_ACCOUNT)) {
    return { ...data, ...(await readData([`jwt=@${SERVICE_ACCOUNT}`], io)) };
  }
  // Files end with a line break, tokens do not.
  return typeof data["jwt"] === "string" ? { ...data, jwt: data["jwt"].trim() } : data;
}

/** A token is one already: it is looked up, and printed as a login would be. */
async function checkToken(args: LoginArguments, io: CliIo): Promise<void> {
  const token = await givenToken(args.data, io);
  const { client } = await findVault(args, io, token === undefined ? {} : { token });
  const subject = "auth/token/lookup-self";
  const reply = await client.ask({ method: "GET", path: subject });
  if (reply.type !== "document") throw new RksError("MESSAGE_INVALID", "the vault says nothing of the token");
  await printDocument(asLogin(reply.document), args, io, { subject, done: "" });
}

async function givenToken(words: readonly string[], io: CliIo): Promise<Secret<string> | undefined> {
  const [word, ...more] = words;
  if (word === undefined) return undefined;
  if (more.length > 0) {
    throw new RksError("USAGE_INVALID", "the method token takes one word", {
      suggestion: "Give the token, - (stdin) or token=@FILE.",
    });
  }
  if (word === STDIN_WORD) return new Secret((await readStdin(io)).trim());
  const named = word.startsWith("token=") ? word : `token=${word}`;
  return new Secret(String((await readData([named], io))["token"]).trim());
}

function asLogin(answer: VaultDocument): VaultDocument {
  const token = dataOf(answer);
  return {
    ...answer,
    data: null,
    auth: {
      client_token: token["id"],
      accessor: token["accessor"],
      policies: token["policies"],
      token_policies: token["policies"],
      identity_policies: token["identity_policies"] ?? [],
      metadata: token["meta"] ?? null,
      lease_duration: token["ttl"],
      renewable: token["renewable"] ?? false,
      entity_id: token["entity_id"] ?? "",
      token_type: token["type"],
      orphan: token["orphan"],
      num_uses: token["num_uses"] ?? 0,
    },
  };
}
