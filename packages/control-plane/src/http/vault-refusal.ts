import { type ErrorCode, isErrorCode, RksError, type WireError } from "@rk8s/protocol";
import type { VaultDocument } from "./vault-client.js";

/** What the statuses of a Vault API mean when there is no code of ours beside them. */
const CODES: Readonly<Record<number, ErrorCode>> = {
  400: "INPUT_INVALID",
  401: "PERMISSION_DENIED",
  403: "PERMISSION_DENIED",
  404: "NOT_FOUND",
  405: "UNSUPPORTED",
  412: "UNAVAILABLE",
  413: "MESSAGE_TOO_LARGE",
  415: "INPUT_INVALID",
  429: "BUSY",
  501: "VAULT_NOT_INITIALIZED",
  502: "UNAVAILABLE",
  503: "UNAVAILABLE",
};
/** Errors without a hint of their own whose remedy is known. */
const REMEDIES: Partial<Readonly<Record<ErrorCode, string>>> = {
  PERMISSION_DENIED:
    "Use a token that may: VAULT_TOKEN or --token-file FILE over HTTPS, or the socket of rks on its own host.",
  VAULT_SEALED: "Open the vault with `rks unseal` or `rks operator unseal`.",
};

/** The error that an answer stands for: by our own code where it has one, else by its status. */
export function refusalOf(status: number, document: VaultDocument | undefined, path: string): RksError {
  const own = wireErrorOf(document?.["error"]);
  const texts = textsOf(document?.["errors"]);
  if (own !== undefined) {
    const { code } = RksError.fromWire(own);
    return RksError.fromWire({ ...own, suggestion: own.suggestion ?? REMEDIES[code] });
  }
  const isSealed = status === 503 && texts.some((text) => /\bsealed\b/i.test(text));
  const code: ErrorCode = isSealed ? "VAULT_SEALED" : (CODES[status] ?? "INTERNAL");
  const said = texts.length === 0 ? `HTTP status ${status}` : texts.join("; ");
  const message = `${said} (asked for ${JSON.stringify(path.slice(0, 200))})`;
  return RksError.fromWire({ code, message, suggestion: REMEDIES[code], retryable: false });
}

function wireErrorOf(value: unknown): WireError | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { code, message, suggestion, retryable } = value as Partial<Record<keyof WireError, unknown>>;
  if (typeof code !== "string" || typeof message !== "string" || !isErrorCode(code)) return undefined;
  return {
    code,
    message,
    ...(typeof suggestion === "string" ? { suggestion } : {}),
    retryable: retryable === true,
  };
}

function textsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((text): text is string => typeof text === "string") : [];
}
