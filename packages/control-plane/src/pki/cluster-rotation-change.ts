import { equalBytes, RksError } from "@rk8s/protocol";
import type { Comparison, Write } from "@rk8s/storage";
import { type Certificate, formatName } from "@rk8s/x509";
import { CertificateAuthority } from "./certificate-authority.js";
import {
  assertCross,
  assertIntermediate,
  assertOfflineRoot,
  knownIssuers,
  readSignedIntermediate,
} from "./cluster-intermediate.js";
import { type PendingRequest, pendingUnchanged } from "./cluster-intermediate-request.js";
import { crossSign, makeRoot } from "./cluster-root.js";
import {
  afterStep,
  assertStep,
  type RotationStep,
  withIntermediate,
  withSuccessor,
} from "./cluster-rotation.js";
import {
  type ClusterRoot,
  clusterRoot,
  type ClusterRoots,
  foundingRoots,
  isOffline,
  issuerOf,
  issuersOf,
  rootsOf,
} from "./cluster-roots.js";
import {
  CLUSTER_KEYS,
  clusterCertificateWrite,
  clusterKeyPath,
  clusterRootsWrite,
  issuerKeyPath,
  type StoredRoots,
} from "./cluster-store.js";
import { exportPkcs8 } from "./key-pair.js";

/** A step of a rotation that is not committed yet. */
export interface PreparedRotation {
  /** The roots as they will be. */
  readonly roots: ClusterRoots;
  readonly comparisons: readonly Comparison[];
  readonly writes: readonly Write[];
  /** Overwrite the key among the writes; to be called once they are committed or given up. */
  readonly wipe: () => void;
}

/** What a step of a rotation depends on besides what is stored. */
export interface RotationOptions {
  readonly prefix: string;
  readonly now: number;
  /** Of a new root. */
  readonly ttlSeconds: number;
  /** PEM: an intermediate that an offline root has signed, with that root. */
  readonly certificates?: string | undefined;
  /** The request that the intermediate may be for. */
  readonly pending?: PendingRequest | undefined;
}

/**
 * Work out a step of a rotation over what is stored. The keys of those who leave are deleted with them.
 * @throws {RksError} CA_PHASE_INVALID; INPUT_INVALID without certificates where only an offline root can sign;
 * CERTIFICATE_INVALID, KEY_TOO_WEAK for certificates that cannot be taken.
 */
export function prepareRotation(
  step: RotationStep,
  stored: StoredRoots,
  options: RotationOptions,
): PreparedRotation {
  if (step === "renew") return prepareIntermediate(stored, options);
  if (step === "prepare") {
    return options.certificates === undefined
      ? prepareSuccessor(stored, options)
      : prepareOfflineSuccessor(stored, options.certificates, options);
  }
  return changed(stored, afterStep(stored.roots, step, options.now), options);
}

/**
 * Begin a cluster with an offline root.
 * @throws {RksError} CERTIFICATE_INVALID, KEY_TOO_WEAK.
 */
export function foundOffline(
  certificates: string,
  { prefix, now, pending }: Pick<RotationOptions, "prefix" | "now" | "pending">,
): { readonly root: Uint8Array; readonly writes: readonly Write[] } {
  const { intermediate, root, cross } = readSignedIntermediate(certificates, pending ? [pending.spki] : []);
  if (root === undefined) throw rootMissing();
  assertOfflineRoot(root, now);
  assertIntermediate(intermediate, { root, known: [], now });
  if (cross !== undefined) throw crossUnfounded();
  const roots = foundingRoots(root.der, [{ certificate: intermediate, isTainted: false }]);
  return {
    root: root.der,
    writes: [
      clusterRootsWrite(prefix, roots),
      { type: "delete", key: prefix + CLUSTER_KEYS.request },
      ...recordsOf(prefix, [root, intermediate]),
    ],
  };
}

/** A new root that is made here. */
function prepareSuccessor(stored: StoredRoots, options: RotationOptions): PreparedRotation {
  const { roots, issuer } = stored;
  const { prefix, now, ttlSeconds } = options;
  assertStep(roots, "prepare");
  if (isOffline(roots.active)) throw certificatesMissing("prepare");
  const number = roots.lastNumber + 1;
  const made = makeRoot({ commonName: `rk8s cluster root ${number}`, ttlSeconds, now });
  const successor = new CertificateAuthority(made.certificate, made.privateKey);
  const incoming: ClusterRoot = {
    ...clusterRoot({ number, standing: "incoming", certificate: made.certificate.der }),
    cross: crossSign(issuer, made.certificate, { now }),
  };
  // The other way round too: after a rollback, who knows only the new root can verify the old one.
  const active = { ...roots.active, cross: crossSign(successor, roots.active.certificate, { now }) };
  const next = withSuccessor(roots, { active, incoming }, now);
  const pkcs8 = exportPkcs8(made.privateKey);
  const { writes, ...prepared } = changed(stored, next, options);
  return {
    ...prepared,
    writes: [
      ...writes,
      { type: "put", key: clusterKeyPath(prefix, number), value: pkcs8 },
      ...recordsOf(prefix, [made.certificate, incoming.cross, active.cross]),
    ],
    wipe: () => void pkcs8.fill(0),
  };
}

/** A new root whose key is kept elsewhere, with the intermediate that will sign for it here. */
function prepareOfflineSuccessor(
  stored: StoredRoots,
  certificates: string,
  options: RotationOptions,
): PreparedRotation {
  const { roots, issuer } = stored;
  const { now, pending } = options;
  assertStep(roots, "prepare");
  const { intermediate, root, cross } = readSignedIntermediate(certificates, pending ? [pending.spki] : []);
  if (root === undefined) throw rootMissing();
  const known = rootsOf(roots).find(({ certificate }) => equalBytes(certificate.spki, root.spki));
  if (known !== undefined) throw rootKnown(known);
  assertOfflineRoot(root, now);
  assertIntermediate(intermediate, { root, known: knownIssuers(roots), now });
  if (cross !== undefined) assertCross(cross, { root, signer: roots.active, now });
  const incoming: ClusterRoot = {
    ...clusterRoot({ number: roots.lastNumber + 1, standing: "incoming", certificate: root.der }),
    intermediates: [{ certificate: intermediate, isTainted: false }],
    cross: isOffline(roots.active) ? cross : crossSignOffline(issuer, root, now),
  };
  const active = { ...roots.active, cross: undefined };
  const next = withSuccessor(roots, { active, incoming }, now);
  return withSigned(changed(stored, next, options), [root, intermediate, incoming.cross], options);
}

/** Roots of before have room for a cross-certificate alone. */
function crossSignOffline(
  issuer: CertificateAuthority,
  root: Certificate,
  now: number,
): Certificate | undefined {
  if (issuer.certificate.pathLength === 1) {
    throw new RksError(
      "CA_PHASE_INVALID",
      "the root that signs now has no room for an intermediate below its successor (pathlen:1)",
      {
        suggestion:
          "Rotate it once with `rks ca prepare`, `rks ca activate` and `rks ca retire`, then begin again.",
      },
    );
  }
  return crossSign(issuer, root, { now, pathLength: 1 });
}

/** Another intermediate for an offline root that is trusted already. */
function prepareIntermediate(stored: StoredRoots, options: RotationOptions): PreparedRotation {
  const { roots } = stored;
  const { now, certificates, pending } = options;
  const offline = rootsOf(roots).filter((root) => isOffline(root) && mayStillSign(root, roots));
  if (offline.length === 0) {
    throw new RksError("CA_PHASE_INVALID", "no root of the cluster is offline: its own key signs", {
      suggestion: "Begin with `rks ca csr`, and go on with `rks ca prepare --certificates FILE`.",
    });
  }
  if (certificates === undefined) throw certificatesMissing("renew");
  const own = offline.map((root) => issuerOf(root).spki);
  const keys = pending === undefined ? own : [...own, pending.spki];
  const { intermediate, root: given, cross } = readSignedIntermediate(certificates, keys);
  const root = offline.find(({ certificate }) =>
    equalBytes(certificate.subject.der, intermediate.issuer.der),
  );
  const isOther = given !== undefined && root !== undefined && !equalBytes(given.der, root.certificate.der);
  if (root === undefined || isOther || cross !== undefined) throw rootUnknown(intermediate);
  assertIntermediate(intermediate, {
    root: root.certificate,
    known: knownIssuers(roots),
    now,
  });
  const next = withIntermediate(roots, intermediate, { number: root.number, now });
  return withSigned(changed(stored, next, options), [intermediate], options);
}

/** A change with the certificates that have come in, one of which may answer the request. */
function withSigned(
  change: PreparedRotation,
  certificates: readonly (Certificate | undefined)[],
  { prefix, pending }: RotationOptions,
): PreparedRotation {
  const isAnswered =
    pending !== undefined && certificates.some((one) => one && equalBytes(one.spki, pending.spki));
  return {
    ...change,
    comparisons: [...change.comparisons, pendingUnchanged(prefix, pending)],
    writes: [
      ...change.writes,
      ...(isAnswered ? [{ type: "delete", key: prefix + CLUSTER_KEYS.request } as const] : []),
      ...recordsOf(prefix, certificates),
    ],
  };
}

/** What every change writes: the record, and no key of anybody who has none to use any more. */
function changed(stored: StoredRoots, roots: ClusterRoots, { prefix }: RotationOptions): PreparedRotation {
  const kept = new Set(keyPathsOf(roots, prefix));
  const gone = keyPathsOf(stored.roots, prefix).filter((path) => !kept.has(path));
  return {
    roots,
    comparisons: [{ key: prefix + CLUSTER_KEYS.roots, modRevision: stored.modRevision }],
    writes: [clusterRootsWrite(prefix, roots), ...gone.map((key) => ({ type: "delete", key }) as const)],
    wipe: () => undefined,
  };
}

/** Where the keys are of everybody who may sign, or has signed and is asked about it. */
function keyPathsOf(roots: ClusterRoots, prefix: string): readonly string[] {
  return rootsOf(roots)
    .filter((root) => mayStillSign(root, roots))
    .flatMap((root) =>
      issuersOf(root)
        .filter(({ isTainted }) => !isTainted)
        .map(({ certificate }) => issuerKeyPath(prefix, root, certificate)),
    );
}

/** Whether its key is needed: of the two, only one that is trusted can sign again. */
function mayStillSign(root: ClusterRoot, { active, other }: ClusterRoots): boolean {
  if (root.number === active.number) return true;
  return root.number === other?.number && (other.standing === "incoming" || other.standing === "outgoing");
}

function recordsOf(prefix: string, certificates: readonly (Certificate | undefined)[]): Write[] {
  return certificates
    .filter((one) => one !== undefined)
    .map(({ der, serialNumber }) => clusterCertificateWrite(prefix, serialNumber, { der, role: "" }));
}

function certificatesMissing(step: RotationStep): RksError {
  return new RksError(
    "INPUT_INVALID",
    `"${step}" needs certificates: the key of the cluster's root is not here`,
    {
      suggestion: `Let the root sign what \`rks ca csr\` prints, then run \`rks ca ${step} --certificates FILE\`.`,
    },
  );
}

function rootMissing(): RksError {
  return new RksError("CERTIFICATE_INVALID", "the new root is not among the certificates", {
    suggestion: "Give the intermediate and the root that signed it in one file.",
  });
}

function crossUnfounded(): RksError {
  return new RksError("CERTIFICATE_INVALID", "the first root of a cluster needs no cross-certificate", {
    suggestion: "Give the intermediate and the root that signed it alone.",
  });
}

function rootKnown({ number }: ClusterRoot): RksError {
  return new RksError("CERTIFICATE_INVALID", `the new root has the key of the cluster's root ${number}`, {
    suggestion:
      "Put an intermediate of a root that is trusted already in with `rks ca renew --certificates FILE`.",
  });
}

function rootUnknown({ issuer }: Certificate): RksError {
  return new RksError(
    "CERTIFICATE_INVALID",
    `the intermediate is of root "${formatName(issuer)}", which is none of the cluster's`,
    { suggestion: "Move the cluster to another root with `rks ca prepare --certificates FILE`." },
  );
}
