import { type Clock, equalBytes, RksError, SERVER_NAME } from "@rk8s/protocol";
import type { Storage, Write } from "@rk8s/storage";
import { encodeName, OID, parseCertificate, parseIpAddress } from "@rk8s/x509";
import type { Answer, Backend, MountInit } from "../vault/backend.js";
import { type BackendPath, operation, parameter, PathTable } from "../vault/path-table.js";
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
import { ClusterRevocations } from "./cluster-revocation.js";
import { CLUSTER_ROLE_NAMES, CLUSTER_ROLES, type ClusterRoleName } from "./cluster-roles.js";
import { makeRoot } from "./cluster-root.js";
import { type ClusterRoots, issuerChain, trustedRoots } from "./cluster-roots.js";
import type { RotationStep } from "./cluster-rotation.js";
import { type PreparedRotation, prepareRotation } from "./cluster-rotation-change.js";
import {
  clusterCertificateWrite,
  clusterIssuerWrites,
  readClusterCertificate,
  readClusterRoots,
  type StoredRoots,
} from "./cluster-store.js";
import { createFastKeyPair, exportPkcs8 } from "./key-pair.js";
import { encodeLeafExtensions, type LeafExtensions } from "./leaf-extensions.js";
import { toDnsName } from "./name-rules.js";
import { clusterStatusPaths } from "./cluster-status-paths.js";
import { clusterCertificatesByEnd, tidyClusterCertificates } from "./cluster-tidy.js";
import { CLUSTER_PUBLIC_PATHS, readClusterPublic } from "./cluster-reads.js";

/** Where the cluster's CA is mounted; users cannot mount anything there. */
export const CLUSTER_CA_MOUNT = "rk8s-pki/";

const TRUST_DOMAIN_KEY = "trust-domain";
const TRUST_DOMAIN = /^[a-z0-9._-]{1,253}$/;
const ROLES_PATH = "roles";

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
  #state: ClusterState | undefined;
  #signers: readonly CertificateAuthority[] = [];

  private constructor(mount: MountInit, barrier: Storage, clock: Clock) {
    this.#mount = mount;
    this.#barrier = barrier;
    this.revocations = new ClusterRevocations(barrier, mount.storagePrefix);
    this.#clock = clock;
    this.paths = new PathTable(this.#paths());
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
    return this.#open().issuer.certificate.der;
  }

  /** End of the root's life, milliseconds. @throws {RksError} VAULT_NOT_INITIALIZED. */
  get rootNotAfter(): number {
    return this.#open().issuer.certificate.notAfter;
  }

  /** The roots that members are to trust now. @throws {RksError} VAULT_NOT_INITIALIZED. */
  trust(): TrustState {
    const { roots } = this.#open();
    return { generation: roots.generation, bundle: trustedRoots(roots) };
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
   * @throws {RksError} CA_PHASE_INVALID, VAULT_NOT_INITIALIZED.
   */
  prepareRotation(step: RotationStep, options: { readonly rootTtlSeconds: number }): PreparedRotation {
    const { storagePrefix: prefix } = this.#mount;
    const times = { now: this.#clock.now(), ttlSeconds: options.rootTtlSeconds };
    return prepareRotation(step, this.#open(), { prefix, ...times });
  }

  /** Whether a certificate that was issued here was signed by the root that signs now. */
  async isOfActiveRoot(serialNumber: string): Promise<boolean> {
    const record = await readClusterCertificate(this.#barrier, this.#mount.storagePrefix, serialNumber);
    if (record === undefined) return false;
    return equalBytes(parseCertificate(record.der).issuer.der, this.#open().issuer.certificate.subject.der);
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
  async reload(): Promise<void> {
    const { storagePrefix } = this.#mount;
    const stored = await readClusterRoots(this.#barrier, storagePrefix);
    const trustDomain = await this.#barrier.get(storagePrefix + TRUST_DOMAIN_KEY);
    if (stored === undefined || trustDomain === undefined) return;
    this.#state = { ...stored, trustDomain: new TextDecoder().decode(trustDomain.value) };
  }

  /**
   * Make the root (EC P-256). Commit the writes, wipe the key among them (`wipe`), then `reload`.
   * @throws {RksError} ALREADY_EXISTS when there is a root, INPUT_INVALID for a trust domain that is none (SPIFFE-ID §2.1).
   */
  initialize(init: ClusterCaInit): PreparedRoot {
    if (this.#state !== undefined) {
      throw new RksError("ALREADY_EXISTS", `the cluster's CA in "${this.#mount.path}" has a root already`);
    }
    if (!TRUST_DOMAIN.test(init.trustDomain)) {
      throw new RksError(
        "INPUT_INVALID",
        `trust domain ${JSON.stringify(init.trustDomain.slice(0, 80))} is not a SPIFFE trust domain`,
        {
          suggestion: "Use lower-case letters, digits, dots, hyphens and underscores.",
        },
      );
    }
    const now = init.now ?? this.#clock.now();
    const root = makeRoot({ commonName: init.commonName, ttlSeconds: init.rootTtlSeconds, now });
    const { der, serialNumber } = root.certificate;
    const { storagePrefix } = this.#mount;
    const privateKey = exportPkcs8(root.privateKey);
    const trustDomain = new TextEncoder().encode(init.trustDomain);
    const writes: Write[] = [
      ...clusterIssuerWrites(storagePrefix, der, privateKey),
      { type: "put", key: storagePrefix + TRUST_DOMAIN_KEY, value: trustDomain },
      clusterCertificateWrite(storagePrefix, serialNumber, { der, role: "" }),
    ];
    return { root: der, writes, wipe: () => void privateKey.fill(0) };
  }

  /** Make the server's next key and certificate: role `rks-node`. @throws {RksError} VAULT_NOT_INITIALIZED, INPUT_INVALID for a name that no certificate can carry. */
  prepareServerCertificate(request: ServerCertificateRequest): PreparedServerCertificate {
    const keyPair = createFastKeyPair({ type: "ec", bits: 256 });
    const advertised = request.dnsNames.map(advertisedName);
    const dnsNames = [...new Set([SERVER_NAME, ...advertised])];
    const prepared = this.#prepare("rks-node", request, {
      name: SERVER_NAME,
      spki: keyPair.spki,
      names: { dnsNames, ipAddresses: [...new Set(request.ipAddresses)] },
    });
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

  /** What everyone may read, the roles, and a refusal for all else, whoever asks. */
  #paths(): readonly BackendPath[] {
    const refusal = operation({
      summary: "Refused: the cluster's CA is closed.",
      handle: ({ operation: asked, path }) => {
        throw new RksError(
          "PERMISSION_DENIED",
          `"${asked}" of "${this.#mount.path}${path}" is refused to everyone: the cluster's CA is closed`,
          {
            suggestion:
              "Mount a PKI engine of your own with `rks secrets enable pki` for other certificates.",
          },
        );
      },
    });
    const refused = { update: refusal, patch: refusal, delete: refusal };
    const read = operation({
      access: "anyone",
      summary: "Read a certificate.",
      handle: ({ path }) =>
        readClusterPublic(path, {
          barrier: this.#barrier,
          prefix: this.#mount.storagePrefix,
          roots: this.#state?.roots,
          revocations: this.revocations,
        }),
    });
    const status = clusterStatusPaths({
      revocations: this.revocations,
      barrier: this.#barrier,
      prefix: this.#mount.storagePrefix,
      clock: this.#clock,
      authorities: () => this.#authorities(),
    });
    return [
      ...status.map(({ pattern, operations }) => ({ pattern, operations: { ...refused, ...operations } })),
      ...CLUSTER_PUBLIC_PATHS.map((pattern) => ({ pattern, operations: { read, ...refused } })),
      {
        pattern: ROLES_PATH,
        operations: {
          list: operation({
            summary: "List the roles.",
            handle: () => ({ data: { keys: [...CLUSTER_ROLE_NAMES] } }),
          }),
          ...refused,
        },
      },
      {
        pattern: `${ROLES_PATH}/:name`,
        operations: {
          read: operation({
            summary: "Read a role.",
            handle: (request) => this.#readRole(parameter(request, "name")),
          }),
          ...refused,
        },
      },
      {
        pattern: "*path",
        operations: { read: operation({ summary: "Nothing is here.", handle: () => undefined }), ...refused },
      },
    ];
  }

  /** Whose certificates are told about: the same array as long as they stay the same. */
  #authorities(): readonly CertificateAuthority[] {
    const signers = [this.#state?.issuer, this.#state?.other].filter((signer) => signer !== undefined);
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
    if (now >= notAfter) {
      const date = new Date(notAfter).toISOString();
      throw new RksError("CERTIFICATE_EXPIRED", `the cluster's root certificate expired at ${date}`, {
        suggestion:
          "Set certificates.root_rotation to auto and start rks again; then `rks node rejoin NAME` for each node.",
      });
    }
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

  #readRole(name: string): Answer | undefined {
    const known = CLUSTER_ROLE_NAMES.find((role) => role === name);
    if (known === undefined) return undefined;
    const role = CLUSTER_ROLES[known];
    return {
      data: {
        names: role.names,
        key_usage: role.keyUsage,
        ext_key_usage_oids: role.extendedKeyUsage,
        max_ttl: role.maxTtlSeconds,
        not_before_duration: role.backdateSeconds,
      },
    };
  }

  #open(): ClusterState {
    if (this.#state !== undefined) return this.#state;
    throw new RksError("VAULT_NOT_INITIALIZED", `the cluster's CA in "${this.#mount.path}" has no root yet`, {
      suggestion: "Run `rks gen certs` first.",
    });
  }
}

/** Common names that nodes cannot have (`rks…` is reserved). */
const STORE_CLIENT_NAME = "rks-store";
const STORE_PEER_NAME = "rks-store-peer";

function storeLeaf({ part, host }: StoreCertificateRequest): {
  readonly name: string;
  readonly names: LeafExtensions["names"];
} {
  if (part === "client" || host === undefined) {
    return { name: STORE_CLIENT_NAME, names: { dnsNames: [STORE_CLIENT_NAME] } };
  }
  const isAddress = parseIpAddress(host) !== undefined;
  const dnsName = isAddress ? undefined : advertisedName(host);
  if (dnsName !== undefined && (dnsName === SERVER_NAME || dnsName === STORE_CLIENT_NAME)) {
    throw new RksError(
      "INPUT_INVALID",
      `"${host}" is a name of the cluster itself, not of a member of its store`,
      {
        suggestion: "Give the host name of the store's member.",
      },
    );
  }
  const names = dnsName === undefined ? { ipAddresses: [host] } : { dnsNames: [dnsName] };
  return { name: part === "peer" ? STORE_PEER_NAME : (dnsName ?? host), names };
}

/** A host name that agents may reach the server by; a wildcard or an address among them would be a mistake. */
function advertisedName(name: string): string {
  const ascii = toDnsName(name.toLowerCase());
  if (ascii !== undefined && !ascii.includes("*") && parseIpAddress(ascii) === undefined) return ascii;
  throw new RksError(
    "INPUT_INVALID",
    `advertised name ${JSON.stringify(name.slice(0, 260))} is not a host name`,
    {
      suggestion: "Give host names and IP addresses without port, prefix length or wildcard.",
    },
  );
}
