import { type Clock, equalBytes, RksError } from "@rk8s/protocol";
import type { Storage, Write } from "@rk8s/storage";
import { encodeName, OID, parseCertificate } from "@rk8s/x509";
import type { Backend, MountInit } from "../vault/backend.js";
import type { Changes } from "../vault/members/changes.js";
import { Serial } from "../vault/serial.js";
import { PathTable } from "../vault/path-table.js";
import type { CertificateAuthority, IssuedCertificate } from "./certificate-authority.js";
import { assertModest, type ProvenRequest } from "./cluster-request.js";
import type {
  ClusterCaInit,
  NodeCertificateRequest,
  OperatorCertificateRequest,
  PreparedCertificate,
  PreparedRoot,
  PreparedServerCertificate,
  ServerCertificateRequest,
  StoreCertificateRequest,
  TrustState,
} from "./cluster-certificate.js";
import {
  type PendingRequest,
  prepareIntermediateRequest,
  type PreparedRequest,
  readPendingRequest,
  requestAgain,
} from "./cluster-intermediate-request.js";
import { serverLeaf, storeLeaf } from "./cluster-own-names.js";
import { clusterPaths } from "./cluster-paths.js";
import { ClusterRevocations } from "./cluster-revocation.js";
import { CLUSTER_ROLES, type ClusterRoleName } from "./cluster-roles.js";
import { assertIssuerLives, makeRoot } from "./cluster-root.js";
import {
  type ClusterRoots,
  isOffline,
  issuerChain,
  issuersOf,
  refusedIssuers,
  trustedRoots,
} from "./cluster-roots.js";
import type { RotationStep } from "./cluster-rotation.js";
import {
  foundOffline,
  type PreparedRotation,
  prepareRotation,
  type RotationOptions,
} from "./cluster-rotation-change.js";
import {
  CLUSTER_KEYS,
  clusterCertificateWrite,
  clusterIssuerWrites,
  readClusterCertificate,
  readClusterRoots,
  type StoredRoots,
} from "./cluster-store.js";
import { createFastKeyPair, exportPkcs8 } from "./key-pair.js";
import { encodeLeafExtensions, type LeafExtensions } from "./leaf-extensions.js";
import { clusterCertificatesByEnd, tidyClusterCertificates } from "./cluster-tidy.js";

/** Where the cluster's CA is mounted; users cannot mount anything there. */
export const CLUSTER_CA_MOUNT = "rk8s-pki/";

const TRUST_DOMAIN_KEY = "trust-domain";
const TRUST_DOMAIN = /^[a-z0-9._-]{1,253}$/;

interface ClusterState extends StoredRoots {
  readonly trustDomain: string;
}

/**
 * The cluster's own CA on the reserved mount `rk8s-pki/` (architecture.md, laws 3 and 4). Over `handle` it can only be
 * read, whoever asks. The control plane itself uses the typed methods: they sign at once and hand the records back as
 * writes, so that certificate, token and node are committed in one transaction or not at all.
 */
export class ClusterCa implements Backend {
  readonly paths: PathTable;
  /** Certificates that are void before their end. */
  readonly revocations: ClusterRevocations;
  readonly #mount: MountInit;
  readonly #barrier: Storage;
  readonly #clock: Clock;
  readonly #reloads = new Serial();
  #state: ClusterState | undefined;
  #signers: readonly CertificateAuthority[] = [];

  private constructor(mount: MountInit, barrier: Storage, clock: Clock) {
    this.#mount = mount;
    this.#barrier = barrier;
    this.revocations = new ClusterRevocations(barrier, mount.storagePrefix);
    this.#clock = clock;
    this.paths = new PathTable(
      clusterPaths({
        mountPath: mount.path,
        revocations: this.revocations,
        barrier,
        prefix: mount.storagePrefix,
        clock,
        authorities: () => this.#authorities(),
        roots: () => this.#state?.roots,
      }),
    );
  }

  /** Open the mount; it may not be initialised yet. @throws {RksError} STORAGE_CORRUPT. */
  static async open(
    mount: MountInit,
    barrier: Storage,
    ports: { readonly clock: Clock },
  ): Promise<ClusterCa> {
    const ca = new ClusterCa(mount, barrier, ports.clock);
    await ca.reload();
    return ca;
  }

  /** Whether the CA has a root. */
  get initialized(): boolean {
    return this.#state !== undefined;
  }

  /** The root certificate, DER. @throws {RksError} VAULT_NOT_INITIALIZED. */
  get root(): Uint8Array {
    return this.#open().roots.active.certificate.der;
  }

  /** End of the root's life, milliseconds. @throws {RksError} VAULT_NOT_INITIALIZED. */
  get rootNotAfter(): number {
    return this.#open().roots.active.certificate.notAfter;
  }

  /** End of the life of the intermediate that signs, milliseconds; undefined when the root itself does. @throws {RksError} VAULT_NOT_INITIALIZED. */
  get intermediateNotAfter(): number | undefined {
    return this.#open().roots.active.intermediates[0]?.certificate.notAfter;
  }

  /** The roots that members are to trust now. @throws {RksError} VAULT_NOT_INITIALIZED. */
  trust(): TrustState {
    const { roots } = this.#open();
    return {
      generation: roots.generation,
      bundle: trustedRoots(roots),
      refusedIssuers: refusedIssuers(roots),
    };
  }

  /** The roots, with those that are coming or going. @throws {RksError} VAULT_NOT_INITIALIZED. */
  get roots(): ClusterRoots {
    return this.#open().roots;
  }

  /** DER, every root whose certificates a server lets finish TLS; what they are good for is decided after it. */
  get clientRoots(): readonly Uint8Array[] {
    const { active, other } = this.#open().roots;
    return [active.certificate.der, ...(other === undefined ? [] : [other.certificate.der])];
  }

  /** What the cluster is known by, whatever its root: SHA-256 of the first root's SubjectPublicKeyInfo. @throws {RksError} VAULT_NOT_INITIALIZED. */
  get founder(): Uint8Array {
    return Uint8Array.from(Buffer.from(this.#open().roots.founder, "hex"));
  }

  /**
   * Work out a step of a root rotation. Commit the writes, `wipe`, then `reload`.
   * @throws {RksError} CA_PHASE_INVALID, VAULT_NOT_INITIALIZED; INPUT_INVALID, CERTIFICATE_INVALID, KEY_TOO_WEAK for the
   * certificates of an offline root.
   */
  prepareRotation(
    step: RotationStep,
    options: { readonly rootTtlSeconds: number } & Pick<RotationOptions, "certificates" | "pending">,
  ): PreparedRotation {
    const { storagePrefix: prefix } = this.#mount;
    const { rootTtlSeconds: ttlSeconds, certificates, pending } = options;
    const now = this.#clock.now();
    return prepareRotation(step, this.#open(), { prefix, now, ttlSeconds, certificates, pending });
  }

  /** The request for an intermediate that waits for its certificate. @throws {RksError} STORAGE_CORRUPT. */
  pendingRequest(): Promise<PendingRequest | undefined> {
    return readPendingRequest(this.#barrier, this.#mount.storagePrefix);
  }

  /** That request again, or another one. Commit the writes, then `wipe`. @throws {RksError} STORAGE_CORRUPT. */
  async prepareRequest(options: { readonly isFresh: boolean }): Promise<PreparedRequest> {
    const pending = await this.pendingRequest();
    return prepareIntermediateRequest(pending, { prefix: this.#mount.storagePrefix, ...options });
  }

  /** A request (DER) for another certificate of the key that signs now; undefined when that is a root's. @throws {RksError} VAULT_NOT_INITIALIZED. */
  requestAgain(): Uint8Array | undefined {
    const { roots, issuer } = this.#open();
    return isOffline(roots.active) ? requestAgain(issuer) : undefined;
  }

  /** Whether a certificate that was issued here still counts without a renewal: who signed it does so for the active root, and is not tainted. */
  async isOfActiveRoot(serialNumber: string): Promise<boolean> {
    const record = await readClusterCertificate(this.#barrier, this.#mount.storagePrefix, serialNumber);
    if (record === undefined) return false;
    const { issuer: name } = parseCertificate(record.der);
    return issuersOf(this.#open().roots.active).some(
      ({ certificate, isTainted }) => !isTainted && equalBytes(certificate.subject.der, name.der),
    );
  }

  /** SHA-256 of the active root's SubjectPublicKeyInfo: what new join tokens pin. @throws {RksError} VAULT_NOT_INITIALIZED. */
  get rootSpkiSha256(): Uint8Array {
    return this.#open().roots.active.spkiSha256;
  }

  /** @throws {RksError} VAULT_NOT_INITIALIZED. */
  get trustDomain(): string {
    return this.#open().trustDomain;
  }

  /** Read the state again; to be called once the writes of `initialize` or of a rotation are committed. */
  reload(): Promise<void> {
    // One after another: what was read before a change must not take the place of what was read after it.
    return this.#reloads.run(() => this.#read());
  }

  async #read(): Promise<void> {
    const { storagePrefix } = this.#mount;
    const stored = await readClusterRoots(this.#barrier, storagePrefix);
    const trustDomain = await this.#barrier.get(storagePrefix + TRUST_DOMAIN_KEY);
    if (stored === undefined || trustDomain === undefined) return;
    this.#state = { ...stored, trustDomain: new TextDecoder().decode(trustDomain.value) };
  }

  /** Read the state again when another process has changed it, and say so. */
  follow(changes: Changes, onChanged: () => void): void {
    const again = async (): Promise<void> => {
      const before = this.#state?.modRevision;
      await this.reload();
      if (this.#state?.modRevision !== before) onChanged();
    };
    const heard = (): void => void again().catch(() => undefined);
    changes.on(this.#mount.storagePrefix + CLUSTER_KEYS.roots, heard);
    changes.onGap(heard);
  }

  /**
   * Make the root (EC P-256). Commit the writes, wipe the key among them (`wipe`), then `reload`.
   * @throws {RksError} ALREADY_EXISTS when there is a root, INPUT_INVALID for a trust domain that is none (SPIFFE-ID §2.1).
   */
  initialize(init: ClusterCaInit): PreparedRoot {
    const trustDomain = this.#foundingWrite(init.trustDomain);
    const now = init.now ?? this.#clock.now();
    const root = makeRoot({ commonName: init.commonName, ttlSeconds: init.rootTtlSeconds, now });
    const { der, serialNumber } = root.certificate;
    const { storagePrefix } = this.#mount;
    const privateKey = exportPkcs8(root.privateKey);
    const writes: Write[] = [
      ...clusterIssuerWrites(storagePrefix, der, privateKey),
      trustDomain,
      clusterCertificateWrite(storagePrefix, serialNumber, { der, role: "" }),
    ];
    return { root: der, writes, wipe: () => void privateKey.fill(0) };
  }

  /**
   * Begin with an offline root: PEM of the intermediate that was asked for by `prepareRequest`, and of the root that signed
   * it. Commit the writes, then `reload`.
   * @throws {RksError} as `initialize`; CERTIFICATE_INVALID, KEY_TOO_WEAK.
   */
  async initializeOffline(init: {
    readonly trustDomain: string;
    readonly certificates: string;
  }): Promise<Omit<PreparedRoot, "wipe">> {
    const trustDomain = this.#foundingWrite(init.trustDomain);
    const { storagePrefix: prefix } = this.#mount;
    const now = this.#clock.now();
    const founding = foundOffline(init.certificates, { prefix, now, pending: await this.pendingRequest() });
    return { root: founding.root, writes: [...founding.writes, trustDomain] };
  }

  /** Make the server's next key and certificate: role `rks-node`. @throws {RksError} VAULT_NOT_INITIALIZED, INPUT_INVALID for a name that no certificate can carry. */
  prepareServerCertificate(request: ServerCertificateRequest): PreparedServerCertificate {
    const keyPair = createFastKeyPair({ type: "ec", bits: 256 });
    const leaf = serverLeaf(request);
    const prepared = this.#prepare("rks-node", request, { ...leaf, spki: keyPair.spki });
    return { ...prepared, privateKey: exportPkcs8(keyPair.privateKey) };
  }

  /**
   * Make a key and certificate for the external store: role `xline-node`. Members are named by their host alone; the common
   * names of peers and of the client are ones that no node can have, so that the store can tell them from nodes.
   * @throws {RksError} VAULT_NOT_INITIALIZED, INPUT_INVALID for a host that is none or is the cluster's own name.
   */
  prepareStoreCertificate(request: StoreCertificateRequest): PreparedServerCertificate {
    const keyPair = createFastKeyPair({ type: "ec", bits: 256 });
    const leaf = storeLeaf(request);
    const prepared = this.#prepare("xline-node", request, { ...leaf, spki: keyPair.spki });
    return { ...prepared, privateKey: exportPkcs8(keyPair.privateKey) };
  }

  /**
   * Sign a node's CSR: role `rkl-node`. Subject, name, usage and lifetime come from the parameters and the role alone.
   * @throws {RksError} CSR_INVALID, VAULT_NOT_INITIALIZED, CERTIFICATE_EXPIRED when the root's time is over.
   */
  prepareNodeCertificate(request: NodeCertificateRequest): PreparedCertificate {
    return this.#prepareClient("rkl-node", "node", request.nodeName, request);
  }

  /** Sign an operator's CSR: role `operator`, at most 10 minutes. @throws {RksError} as `prepareNodeCertificate`. */
  prepareOperatorCertificate(request: OperatorCertificateRequest): PreparedCertificate {
    return this.#prepareClient("operator", "operator", request.tokenId, request);
  }

  /** Whether a certificate is kept here: it was issued, and its time is not long over. */
  async knows(serialNumber: string): Promise<boolean> {
    const { storagePrefix } = this.#mount;
    return (await readClusterCertificate(this.#barrier, storagePrefix, serialNumber)) !== undefined;
  }

  /** The writes that keep a node's certificate which this CA issued and a restored store has forgotten. */
  adoptionWrites(der: Uint8Array): readonly Write[] {
    const { storagePrefix } = this.#mount;
    const { serialNumber, notAfter: notAfterMs } = parseCertificate(der);
    return [
      clusterCertificateWrite(storagePrefix, serialNumber, { der, role: "rkl-node" }),
      clusterCertificatesByEnd(this.#barrier, storagePrefix).put({ serialNumber, notAfterMs }),
    ];
  }

  /** Forget certificates and revocations that are over. Returns how many. */
  async tidy(): Promise<number> {
    const now = this.#clock.now();
    const certificates = await tidyClusterCertificates(this.#barrier, this.#mount.storagePrefix, now);
    return certificates + (await this.revocations.tidy(now));
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#state = undefined;
    return Promise.resolve();
  }

  /** Whose certificates are told about: the same array as long as they stay the same. */
  #authorities(): readonly CertificateAuthority[] {
    const signers = this.#state === undefined ? [] : [this.#state.issuer, ...this.#state.others];
    const isSame =
      signers.length === this.#signers.length && signers.every((one, at) => one === this.#signers[at]);
    if (!isSame) this.#signers = signers;
    return this.#signers;
  }

  #prepareClient(
    role: "rkl-node" | "operator",
    kind: "node" | "operator",
    name: string,
    request: { readonly csr: ProvenRequest; readonly ttlSeconds: number; readonly now?: number },
  ): PreparedCertificate {
    const uri = `spiffe://${this.#open().trustDomain}/${kind}/${name}`;
    assertModest(request.csr, { name, uri });
    return this.#prepare(role, request, { name, spki: request.csr.spki.slice(), names: { uris: [uri] } });
  }

  #prepare(
    roleName: ClusterRoleName,
    { ttlSeconds, now = this.#clock.now() }: { readonly ttlSeconds: number; readonly now?: number },
    leaf: {
      readonly name: string;
      readonly spki: Uint8Array;
      readonly names: LeafExtensions["names"];
    },
  ): PreparedCertificate {
    const { issuer, roots } = this.#open();
    const role = CLUSTER_ROLES[roleName];
    const { notBefore, notAfter } = issuer.certificate;
    assertIssuerLives(issuer.certificate, roots, now);
    let issued: IssuedCertificate;
    try {
      const subject = encodeName([{ type: OID.commonName, value: leaf.name }]);
      issued = issuer.sign({
        subject,
        spki: leaf.spki,
        notBefore: Math.max(now - role.backdateSeconds * 1000, notBefore),
        notAfter: Math.min(now + Math.max(1, Math.min(ttlSeconds, role.maxTtlSeconds)) * 1000, notAfter),
        extensions: encodeLeafExtensions(
          {
            keyUsage: role.keyUsage,
            extendedKeyUsage: role.extendedKeyUsage,
            names: leaf.names,
            basicConstraints: true,
          },
          subject,
        ),
      });
    } catch (cause) {
      if (!(cause instanceof TypeError)) throw cause;
      throw new RksError("INPUT_INVALID", `a certificate cannot carry what was asked for: ${cause.message}`, {
        cause,
      });
    }
    const record = { der: issued.der, role: roleName };
    const { storagePrefix } = this.#mount;
    return {
      certificate: issued.der,
      chain: issuerChain(roots, now),
      serialNumber: issued.serialNumber,
      notBefore: issued.notBefore,
      notAfter: issued.notAfter,
      spki: leaf.spki,
      writes: [
        clusterCertificateWrite(storagePrefix, issued.serialNumber, record),
        clusterCertificatesByEnd(this.#barrier, storagePrefix).put({
          serialNumber: issued.serialNumber,
          notAfterMs: issued.notAfter,
        }),
      ],
    };
  }

  /** The write that names the trust domain. @throws {RksError} ALREADY_EXISTS, INPUT_INVALID. */
  #foundingWrite(trustDomain: string): Write {
    if (this.#state !== undefined) {
      throw new RksError("ALREADY_EXISTS", `the cluster's CA in "${this.#mount.path}" has a root already`);
    }
    if (!TRUST_DOMAIN.test(trustDomain)) {
      throw new RksError(
        "INPUT_INVALID",
        `trust domain ${JSON.stringify(trustDomain.slice(0, 80))} is not a SPIFFE trust domain`,
        {
          suggestion: "Use lower-case letters, digits, dots, hyphens and underscores.",
        },
      );
    }
    const key = this.#mount.storagePrefix + TRUST_DOMAIN_KEY;
    return { type: "put", key, value: new TextEncoder().encode(trustDomain) };
  }

  #open(): ClusterState {
    if (this.#state !== undefined) return this.#state;
    throw new RksError("VAULT_NOT_INITIALIZED", `the cluster's CA in "${this.#mount.path}" has no root yet`, {
      suggestion: "Run `rks gen certs` first.",
    });
  }
}
