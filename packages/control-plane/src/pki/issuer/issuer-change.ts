import { createPublicKey, type KeyObject, randomUUID } from "node:crypto";
import { equalBytes, RksError } from "@rk8s/protocol";
import type { Write } from "@rk8s/storage";
import { type Certificate, parseCertificate, parsePublicKey } from "@rk8s/x509";
import { assertKeyStrength } from "../signing.js";
import type { Issuer, IssuerKey, IssuerSettings, IssuerState } from "./issuer.js";
import { issuerKey, issuerState, privateKeyWrite, stateWrites, type StoredIssuer } from "./issuer-records.js";
import { assertFreeName } from "./reference.js";

/** Chains are built over all issuers of a mount, and all of them are in memory. */
const MAX_ISSUERS = 1000;
const MAX_KEYS = 1000;
const MIN_RSA_BITS = 2048;
/** Chains are verified here, which with more takes too long. */
const MAX_RSA_BITS = 8192;

/** What was added, or was there already. */
export interface Added<T> {
  readonly entry: T;
  readonly existing: boolean;
}

/**
 * A change of a mount's issuers and keys on its way: made by `IssuerStore.change`, which commits all of it in one
 * transaction when the action returns and nothing when it throws.
 */
export class IssuerChange {
  readonly #prefix: string;
  readonly #before: IssuerState;
  readonly #writes: Write[] = [];
  readonly #privateKeys = new Map<string, ReturnType<typeof privateKeyWrite>>();
  readonly #changedAtMs: number;
  #state: IssuerState;

  /** @param now milliseconds. */
  constructor(prefix: string, before: IssuerState, now: number) {
    this.#prefix = prefix;
    this.#before = before;
    this.#state = before;
    // Two changes never look like one to a client that asks what is new since a second.
    this.#changedAtMs = Math.max(now, (Math.floor(before.changedAtMs / 1000) + 1) * 1000);
  }

  /** The issuers and keys as they are to be. */
  get state(): IssuerState {
    return this.#state;
  }

  /**
   * Add a key; one with the same public part is not added again. The first key becomes the default.
   * @throws {RksError} KEY_TOO_WEAK, INPUT_INVALID for a name that is taken or none, or too many keys.
   */
  addKey(privateKey: KeyObject, options: { readonly name?: string } = {}): Added<IssuerKey> {
    const { name = "" } = options;
    const spki = createPublicKey(privateKey).export({ type: "spki", format: "der" });
    const keys = [...this.#state.keys.values()];
    const existing = keys.find((key) => equalBytes(key.spki, spki));
    if (existing !== undefined) return { entry: existing, existing: true };
    assertKeyStrength(parsePublicKey(spki, { code: "CERTIFICATE_INVALID" }));
    assertFreeName("key", name, this.#state.keys.values());
    if (keys.length >= MAX_KEYS) throw tooMany("keys", MAX_KEYS);
    const key = issuerKey(randomUUID(), name, spki);
    this.#privateKeys.set(key.id, privateKeyWrite(this.#prefix, key.id, privateKey));
    this.#put({ keys: [...keys, key], defaultKeyId: this.#state.defaultKeyId || key.id });
    return { entry: key, existing: false };
  }

  /**
   * Add an issuer by its certificate; the same certificate is not added again. The first issuer becomes the default, a
   * later one with `latest` too where the default follows the latest and the mount has its key.
   * @throws {RksError} CERTIFICATE_INVALID when it is no CA's, KEY_TOO_WEAK, INPUT_INVALID for a name that is taken or
   * none, or too many issuers.
   */
  addIssuer(
    der: Uint8Array,
    options: { readonly name?: string; readonly latest?: boolean } = {},
  ): Added<Issuer> {
    const { name = "", latest = false } = options;
    const certificate = parseCertificate(der.slice());
    const issuers = [...this.#state.issuers.values()];
    const existing = issuers.find((issuer) => equalBytes(issuer.certificate.der, der));
    if (existing !== undefined) return { entry: existing, existing: true };
    assertCa(certificate);
    assertFreeName("issuer", name, this.#state.issuers.values());
    if (issuers.length >= MAX_ISSUERS) throw tooMany("issuers", MAX_ISSUERS);
    const signsCrls = certificate.keyUsage?.includes("cRLSign") ?? true;
    const issuer: StoredIssuer = {
      id: randomUUID(),
      sequence: 1 + Math.max(0, ...issuers.map(({ sequence }) => sequence)),
      certificate,
      name,
      leafNotAfterBehavior: "err",
      usage: [
        "read-only",
        "issuing-certificates",
        ...(signsCrls ? (["crl-signing"] as const) : []),
        "ocsp-signing",
      ],
      manualChain: [],
      revocationSignatureAlgorithm: "",
      accessUrls: undefined,
      revokedAtMs: 0,
    };
    this.#put({ issuers: [...issuers, issuer] });
    const entry = this.#issuer(issuer.id);
    const follows = latest && this.#state.defaultFollowsLatest && entry.keyId !== "";
    if (issuers.length === 0 || this.#state.defaultIssuerId === "" || follows) {
      this.#put({ defaultIssuerId: entry.id });
    }
    return { entry, existing: false };
  }

  /** Change what an operator decides about an issuer. @throws {RksError} INPUT_INVALID for a name that is taken or none. */
  updateIssuer(id: string, settings: Partial<IssuerSettings>): Issuer {
    const old = this.#issuer(id);
    if (settings.name !== undefined && settings.name !== old.name) {
      assertFreeName("issuer", settings.name, this.#state.issuers.values());
    }
    const issuers = [...this.#state.issuers.values()];
    this.#put({ issuers: issuers.map((issuer) => (issuer.id === id ? { ...issuer, ...settings } : issuer)) });
    return this.#issuer(id);
  }

  /** @throws {RksError} INPUT_INVALID for a name that is taken or none. */
  renameKey(id: string, name: string): IssuerKey {
    const keys = [...this.#state.keys.values()];
    if (this.#state.keys.get(id)?.name !== name) assertFreeName("key", name, keys);
    const renamed = keys.map((key) => (key.id === id ? { ...key, name } : key));
    this.#put({ keys: renamed });
    return found(this.#state.keys, id);
  }

  /** Forget an issuer; its key stays. Whoever had it in a manual chain no longer has. */
  deleteIssuer(id: string): void {
    const issuers = [...this.#state.issuers.values()].filter((issuer) => issuer.id !== id);
    const { defaultIssuerId } = this.#state;
    this.#put({
      issuers: issuers.map((issuer) =>
        issuer.manualChain.includes(id)
          ? { ...issuer, manualChain: issuer.manualChain.filter((link) => link !== id) }
          : issuer,
      ),
      defaultIssuerId: defaultIssuerId === id ? "" : defaultIssuerId,
    });
  }

  /** Forget a key and its private part. */
  deleteKey(id: string): void {
    const { defaultKeyId } = this.#state;
    this.#privateKeys.get(id)?.value.fill(0);
    this.#privateKeys.delete(id);
    this.#put({
      keys: [...this.#state.keys.values()].filter((key) => key.id !== id),
      defaultKeyId: defaultKeyId === id ? "" : defaultKeyId,
    });
  }

  /** Forget everything but whether the default follows the latest. */
  clear(): void {
    this.#put({ issuers: [], keys: [], defaultIssuerId: "", defaultKeyId: "" });
  }

  /** Choose the defaults; ids that exist, or empty for none. */
  setDefaults(
    defaults: Partial<Pick<IssuerState, "defaultIssuerId" | "defaultKeyId" | "defaultFollowsLatest">>,
  ): void {
    this.#put(defaults);
  }

  /** Commit something else together with the change. */
  write(...writes: readonly Write[]): void {
    this.#writes.push(...writes);
  }

  /** Everything to be committed: private keys first, so that what is cut off in between can be done again. */
  finish(): readonly Write[] {
    const changes = stateWrites(this.#prefix, this.#before, this.#state);
    return [...this.#privateKeys.values(), ...changes, ...this.#writes];
  }

  /** Overwrite the private keys among the writes; to be called once they are committed or given up. */
  wipe(): void {
    for (const { value } of this.#privateKeys.values()) value.fill(0);
  }

  #issuer(id: string): Issuer {
    return found(this.#state.issuers, id);
  }

  #put(
    change: Partial<
      Omit<IssuerState, "issuers" | "keys" | "changedAtMs"> & {
        readonly issuers: readonly StoredIssuer[];
        readonly keys: readonly IssuerKey[];
      }
    >,
  ): void {
    const { issuers, keys, ...defaults } = this.#state;
    this.#state = issuerState({
      ...defaults,
      issuers: [...issuers.values()],
      keys: [...keys.values()],
      ...change,
      changedAtMs: this.#changedAtMs,
    });
  }
}

/** A root that is only carried along may be larger than what this vault signs with, not weaker. */
function assertCa({ isCa, publicKey }: Certificate): void {
  if (!isCa || publicKey.algorithm === "other") {
    throw new RksError("CERTIFICATE_INVALID", "a certificate is refused as issuer: it is no CA's", {
      suggestion: "Give certificates with CA:TRUE and a key of RSA, EC P-256, P-384, P-521 or Ed25519.",
    });
  }
  const { algorithm, bits } = publicKey;
  if (algorithm !== "rsa" || (bits >= MIN_RSA_BITS && bits <= MAX_RSA_BITS)) return;
  throw new RksError("KEY_TOO_WEAK", `a certificate is refused as issuer: its RSA key has ${bits} bits`, {
    suggestion: `Use CAs with RSA keys of ${MIN_RSA_BITS} to ${MAX_RSA_BITS} bits.`,
  });
}

function found<T>(entries: ReadonlyMap<string, T>, id: string): T {
  const entry = entries.get(id);
  if (entry === undefined) throw new TypeError(`nothing has the id "${id}"`);
  return entry;
}

function tooMany(what: string, max: number): RksError {
  return new RksError("INPUT_INVALID", `the mount has ${max} ${what} already, which is the limit`, {
    suggestion: `Delete ${what} that are no longer needed, or mount another PKI engine.`,
  });
}
