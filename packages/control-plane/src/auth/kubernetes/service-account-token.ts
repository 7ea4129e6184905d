import { createPublicKey, type KeyObject } from "node:crypto";

import { RksError } from "@rk8s/protocol";
import type { JWTPayload } from "jose";
import { z } from "zod";

import type { KubernetesConfig } from "./kubernetes-config.js";

/** Of clocks that differ. */
const LEEWAY_SECONDS = 60;
/** Issuer of tokens before Kubernetes 1.21. */
const OLD_ISSUER = "kubernetes/serviceaccount";
const CURVE_ALGORITHMS: Readonly<Record<string, string>> = {
  prime256v1: "ES256",
  secp384r1: "ES384",
  secp521r1: "ES512",
};
const RSA_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];

/** Who a token of a service account says that it belongs to. */
export interface ServiceAccount {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  /** Of the Secret that holds the token; empty for tokens that are made on demand. */
  readonly secretName: string;
}

/** A token as it was read; nothing of it is checked. */
export interface UncheckedToken {
  readonly account: ServiceAccount;
  readonly payload: JWTPayload;
}

/** What else a token must say. */
export interface TokenExpectation {
  readonly config: KubernetesConfig;
  /** Empty: any. */
  readonly audience: string;
  readonly nowMs: number;
}

const part = z.string().min(1).max(253);
/** Both forms: of tokens made on demand (nested) and of those kept in Secrets. */
const claims = z.union([
  z
    .object({
      "kubernetes.io": z.object({
        namespace: part,
        serviceaccount: z.object({ name: part, uid: part }),
        secret: z.object({ name: part }).optional(),
      }),
    })
    .transform(({ "kubernetes.io": claim }): ServiceAccount => ({
      ...claim.serviceaccount,
      namespace: claim.namespace,
      secretName: claim.secret?.name ?? "",
    })),
  z
    .object({
      "kubernetes.io/serviceaccount/namespace": part,
      "kubernetes.io/serviceaccount/service-account.name": part,
      "kubernetes.io/serviceaccount/service-account.uid": part,
      "kubernetes.io/serviceaccount/secret.name": part.optional(),
    })
    .transform((claim): ServiceAccount => ({
      name: claim["kubernetes.io/serviceaccount/service-account.name"],
      namespace: claim["kubernetes.io/serviceaccount/namespace"],
      uid: claim["kubernetes.io/serviceaccount/service-account.uid"],
      secretName: claim["kubernetes.io/serviceaccount/secret.name"] ?? "",
    })),
]);

/** Read a token without checking it. @throws {RksError} PERMISSION_DENIED when it is no service account's. */
export async function readToken(jwt: string): Promise<UncheckedToken> {
  const { decodeJwt } = await import("jose");
  let payload: JWTPayload;
  try {
    payload = decodeJwt(jwt);
  } catch {
    throw refused("it is no JSON Web Token");
  }
  const account = claims.safeParse(payload);
  if (!account.success) throw refused("it does not name a service account");
  return { account: account.data, payload };
}

/**
 * Check a token with the configured keys: signature, times, issuer, audience (RFC 7519 §4.1, RFC 7515 §5.2). Only signatures by
 * RSA and elliptic curves count, each key for its own algorithms.
 * @throws {RksError} PERMISSION_DENIED; nothing of the token stands in it.
 */
export async function verifyToken(jwt: string, expectation: TokenExpectation): Promise<void> {
  const { config, audience, nowMs } = expectation;
  const { errors, jwtVerify } = await import("jose");
  const algorithm = await algorithmOf(jwt);
  const keys = config.pemKeys.map((pem) => createPublicKey(pem));
  const fitting = keys.filter((key) => algorithmsOf(key).includes(algorithm));
  if (fitting.length === 0) throw refused("none of the configured keys is for its signature algorithm");
  for (const key of fitting) {
    try {
      await jwtVerify(jwt, key, {
        algorithms: [algorithm],
        clockTolerance: LEEWAY_SECONDS,
        currentDate: new Date(nowMs),
        ...(audience === "" ? {} : { audience }),
        ...(config.ignoreIssuer ? {} : { issuer: issuerOf(config) }),
      });
      return;
    } catch (reason) {
      if (reason instanceof errors.JWSSignatureVerificationFailed) continue;
      if (reason instanceof errors.JWTExpired) throw refused("it has expired");
      if (reason instanceof errors.JWTClaimValidationFailed) {
        throw refused(`its claim "${reason.claim.slice(0, 20)}" is not as expected`);
      }
      throw refused("it cannot be checked");
    }
  }
  throw refused("its signature is by none of the configured keys");
}

/**
 * Check what a token says of itself, before somebody else is asked whether that is true.
 * @throws {RksError} PERMISSION_DENIED
 */
export function assertClaims({ payload }: UncheckedToken, expectation: TokenExpectation): void {
  const { config, audience, nowMs } = expectation;
  const now = Math.floor(nowMs / 1000);
  if (payload.exp !== undefined && payload.exp <= now - LEEWAY_SECONDS) throw refused("it has expired");
  if (payload.nbf !== undefined && payload.nbf > now + LEEWAY_SECONDS) {
    throw refused(`its claim "nbf" is not as expected`);
  }
  if (audience !== "" && ![payload.aud].flat().includes(audience)) {
    throw refused(`its claim "aud" is not as expected`);
  }
  if (!config.ignoreIssuer && payload.iss !== issuerOf(config)) {
    throw refused(`its claim "iss" is not as expected`);
  }
}

/** The refusal of a token, for whatever reason. */
export function refused(problem: string): RksError {
  return new RksError("PERMISSION_DENIED", `the service account token is refused: ${problem}`, {
    suggestion: "Use a fresh token of the pod's service account.",
  });
}

async function algorithmOf(jwt: string): Promise<string> {
  const { decodeProtectedHeader } = await import("jose");
  try {
    return decodeProtectedHeader(jwt).alg ?? "";
  } catch {
    throw refused("its header cannot be read");
  }
}

function algorithmsOf({
  asymmetricKeyType: type,
  asymmetricKeyDetails: details,
}: KeyObject): readonly string[] {
  if (type === "rsa") return RSA_ALGORITHMS;
  const algorithm = CURVE_ALGORITHMS[details?.namedCurve ?? ""];
  return type === "ec" && algorithm !== undefined ? [algorithm] : [];
}

function issuerOf({ issuer }: KubernetesConfig): string {
  return issuer === "" ? OLD_ISSUER : issuer;
}
