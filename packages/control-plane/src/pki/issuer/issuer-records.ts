import { type KeyObject } from "node:crypto";
import { RksError } from "@rk8s/protocol";
import { pagesOf, type Storage, type Write } from "@rk8s/storage";
import { parseCertificate, parsePublicKey } from "@rk8s/x509";
import { z } from "zod";
import { exportPkcs8 } from "../key-pair.js";
import {
  type Issuer,
  ISSUER_USAGES,
  type IssuerKey,
  type IssuerState,
  NOT_AFTER_BEHAVIORS,
} from "./issuer.js";

/** An issuer without what follows from the keys that are there. */
export type StoredIssuer = Omit<Issuer, "keyId">;

const ISSUERS = "issuers/";
const KEYS = "keys/";
const PRIVATE_KEYS = "private-keys/";
const DEFAULTS = "config/defaults";

const urls = z.array(z.string());
const issuerSchema = z.object({
  sequence: z.int(),
  certificate: z.base64(),
  name: z.string(),
  leafNotAfterBehavior: z.enum(NOT_AFTER_BEHAVIORS),
  usage: z.array(z.enum(ISSUER_USAGES)),
  manualChain: z.array(z.string()),
  revocationSignatureAlgorithm: z.string(),
  accessUrls: z
    .object({
      issuing_certificates: urls,
      crl_distribution_points: urls,
      delta_crl_distribution_points: urls,
      ocsp_servers: urls,
      enable_templating: z.boolean(),
    })
    .optional(),
  revokedAtMs: z.number(),
});
const keySchema = z.object({ name: z.string(), spki: z.base64() });
const defaultsSchema = z.object({
  issuer: z.string(),
  key: z.string(),
  followsLatest: z.boolean(),
  changedAtMs: z.number(),
});

/** Read all issuers and keys of a mount, no private keys. @throws {RksError} STORAGE_CORRUPT. */
export async function readIssuerState(storage: Storage, prefix: string): Promise<IssuerState> {
  const keys = (await readFolder(storage, prefix + KEYS)).map(([id, value]) => {
    const { name, spki } = decode(keySchema, value, prefix + KEYS + id);
    return issuerKey(id, name, bytes(spki));
  });
  const stored = (await readFolder(storage, prefix + ISSUERS)).map(([id, value]) => {
    const { certificate, accessUrls, ...rest } = decode(issuerSchema, value, prefix + ISSUERS + id);
    return { ...rest, id, certificate: parseCertificate(bytes(certificate)), accessUrls };
  });
  const issuers = stored.toSorted((a, b) => a.sequence - b.sequence);
  const entry = await storage.get(prefix + DEFAULTS);
  const defaults =
    entry === undefined
      ? { issuer: "", key: "", followsLatest: false, changedAtMs: 0 }
      : decode(defaultsSchema, entry.value, prefix + DEFAULTS);
  return issuerState({
    issuers,
    keys,
    defaultIssuerId: defaults.issuer,
    defaultKeyId: defaults.key,
    defaultFollowsLatest: defaults.followsLatest,
    changedAtMs: defaults.changedAtMs,
  });
}

/** Put issuers and keys together: an issuer's key is the one with its public key. */
export function issuerState(
  parts: Omit<IssuerState, "issuers" | "keys"> & {
    readonly issuers: readonly StoredIssuer[];
    readonly keys: readonly IssuerKey[];
  },
): IssuerState {
  const keyIds = new Map(parts.keys.map(({ id, spki }) => [spkiText(spki), id]));
  const issuers = parts.issuers.map((issuer) => ({
    ...issuer,
    keyId: keyIds.get(spkiText(issuer.certificate.spki)) ?? "",
  }));
  return {
    ...parts,
    issuers: new Map(issuers.map((issuer) => [issuer.id, issuer])),
    keys: new Map(parts.keys.map((key) => [key.id, key])),
  };
}

/** A key with what its public part says. @throws {RksError} CERTIFICATE_INVALID when it is none of ours. */
export function issuerKey(id: string, name: string, spki: Uint8Array): IssuerKey {
  const key = parsePublicKey(spki, { code: "CERTIFICATE_INVALID" });
  if (key.algorithm === "other") {
    throw new RksError("CERTIFICATE_INVALID", `a key of algorithm "${key.oid}" is not supported`);
  }
  return { id, name, type: key.algorithm, bits: key.bits, spki };
}

/** The writes that lead from one state to the next; private keys are written apart. */
export function stateWrites(prefix: string, before: IssuerState, after: IssuerState): Write[] {
  const writes: Write[] = [];
  for (const issuer of after.issuers.values()) {
    const record = issuerRecord(issuer);
    const old = before.issuers.get(issuer.id);
    if (old !== undefined && equalRecords(issuerRecord(old), record)) continue;
    writes.push(put(prefix + ISSUERS + issuer.id, record));
  }
  for (const key of after.keys.values()) {
    const record = { name: key.name, spki: Buffer.from(key.spki).toString("base64") };
    if (before.keys.get(key.id)?.name !== key.name) writes.push(put(prefix + KEYS + key.id, record));
  }
  for (const id of before.issuers.keys()) {
    if (!after.issuers.has(id)) writes.push({ type: "delete", key: prefix + ISSUERS + id });
  }
  for (const id of before.keys.keys()) {
    if (after.keys.has(id)) continue;
    writes.push({ type: "delete", key: prefix + KEYS + id });
    writes.push({ type: "delete", key: prefix + PRIVATE_KEYS + id });
  }
  if (!equalRecords(defaultsRecord(before), defaultsRecord(after))) {
    writes.push(put(prefix + DEFAULTS, defaultsRecord(after)));
  }
  return writes;
}

/** The write that keeps a private key. Its bytes must stay until it is committed; wipe them then. */
export function privateKeyWrite(
  prefix: string,
  id: string,
  privateKey: KeyObject,
): Write & { readonly type: "put" } {
  return { type: "put", key: prefix + PRIVATE_KEYS + id, value: exportPkcs8(privateKey) };
}

/** PKCS#8 DER of a key; wipe it after use. @throws {RksError} STORAGE_CORRUPT when it is not there. */
export async function readPrivateKey(storage: Storage, prefix: string, id: string): Promise<Uint8Array> {
  const entry = await storage.get(prefix + PRIVATE_KEYS + id);
  if (entry !== undefined) return entry.value;
  throw corrupt(prefix + PRIVATE_KEYS + id);
}

function issuerRecord(issuer: StoredIssuer): z.input<typeof issuerSchema> {
  return {
    sequence: issuer.sequence,
    certificate: Buffer.from(issuer.certificate.der).toString("base64"),
    name: issuer.name,
    leafNotAfterBehavior: issuer.leafNotAfterBehavior,
    usage: [...issuer.usage],
    manualChain: [...issuer.manualChain],
    revocationSignatureAlgorithm: issuer.revocationSignatureAlgorithm,
    ...(issuer.accessUrls === undefined
      ? {}
      : {
          accessUrls: {
            issuing_certificates: [...issuer.accessUrls.issuing_certificates],
            crl_distribution_points: [...issuer.accessUrls.crl_distribution_points],
            delta_crl_distribution_points: [...issuer.accessUrls.delta_crl_distribution_points],
            ocsp_servers: [...issuer.accessUrls.ocsp_servers],
            enable_templating: issuer.accessUrls.enable_templating,
          },
        }),
    revokedAtMs: issuer.revokedAtMs,
  };
}

function defaultsRecord(state: IssuerState): z.input<typeof defaultsSchema> {
  return {
    issuer: state.defaultIssuerId,
    key: state.defaultKeyId,
    followsLatest: state.defaultFollowsLatest,
    changedAtMs: state.changedAtMs,
  };
}

async function readFolder(storage: Storage, folder: string): Promise<[string, Uint8Array][]> {
  const found: [string, Uint8Array][] = [];
  for await (const entries of pagesOf(storage, folder)) {
    for (const { key, value } of entries) found.push([key.slice(folder.length), value]);
  }
  return found;
}

function decode<T>(schema: z.ZodType<T>, value: Uint8Array, key: string): T {
  try {
    return schema.parse(JSON.parse(new TextDecoder().decode(value)));
  } catch (cause) {
    throw corrupt(key, cause);
  }
}

function corrupt(key: string, cause?: unknown): RksError {
  return new RksError("STORAGE_CORRUPT", `the PKI record "${key}" is missing or cannot be read`, {
    cause,
    suggestion: "Restore the data folder from a backup.",
  });
}

function put(key: string, record: object): Write {
  return { type: "put", key, value: Buffer.from(JSON.stringify(record)) };
}

function equalRecords(a: object, b: object): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function bytes(base64: string): Uint8Array {
  return Uint8Array.from(Buffer.from(base64, "base64"));
}

function spkiText(spki: Uint8Array): string {
  return Buffer.from(spki.buffer, spki.byteOffset, spki.length).toString("latin1");
}
