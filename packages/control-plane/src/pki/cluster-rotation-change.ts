import type { Comparison, Write } from "@rk8s/storage";
import { crossSign, makeRoot } from "./cluster-root.js";
import { afterStep, assertStep, type RotationStep, withSuccessor } from "./cluster-rotation.js";
import { type ClusterRoot, clusterRoot, type ClusterRoots } from "./cluster-roots.js";
import {
  CLUSTER_KEYS,
  clusterCertificateWrite,
  clusterKeyPath,
  clusterRootsWrite,
  type StoredRoots,
} from "./cluster-store.js";
import { CertificateAuthority } from "./certificate-authority.js";
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

interface RotationOptions {
  readonly prefix: string;
  readonly now: number;
  /** Of a new root. */
  readonly ttlSeconds: number;
}

/**
 * Work out a step of a rotation over what is stored. The key of a root that leaves is deleted with it.
 * @throws {RksError} CA_PHASE_INVALID.
 */
export function prepareRotation(
  step: RotationStep,
  stored: StoredRoots,
  options: RotationOptions,
): PreparedRotation {
  const { prefix, now } = options;
  const comparisons = [{ key: prefix + CLUSTER_KEYS.roots, modRevision: stored.modRevision }];
  if (step === "prepare") return { ...prepareSuccessor(stored, options), comparisons };
  const roots = afterStep(stored.roots, step, now);
  const writes: Write[] = [clusterRootsWrite(prefix, roots)];
  for (const root of [stored.roots.active, stored.roots.other]) {
    if (root !== undefined && !mayStillSign(root, roots)) {
      writes.push({ type: "delete", key: clusterKeyPath(prefix, root.number) });
    }
  }
  return { roots, comparisons, writes, wipe: () => undefined };
}

function prepareSuccessor(
  { roots, issuer }: StoredRoots,
  { prefix, now, ttlSeconds }: RotationOptions,
): Omit<PreparedRotation, "comparisons"> {
  assertStep(roots, "prepare");
  const number = roots.lastNumber + 1;
  const made = makeRoot({ commonName: `rk8s cluster root ${number}`, ttlSeconds, now });
  const successor = new CertificateAuthority(made.certificate, made.privateKey);
  const incoming: ClusterRoot = {
    ...clusterRoot({ number, standing: "incoming", certificate: made.certificate.der }),
    cross: crossSign(issuer, made.certificate, now),
  };
  // The other way round too: after a rollback, who knows only the new root can verify the old one.
  const active = { ...roots.active, cross: crossSign(successor, roots.active.certificate, now) };
  const next = withSuccessor(roots, { active, incoming }, now);
  const pkcs8 = exportPkcs8(made.privateKey);
  const certificates = [made.certificate, incoming.cross, active.cross].filter((one) => one !== undefined);
  const writes: Write[] = [
    clusterRootsWrite(prefix, next),
    { type: "put", key: clusterKeyPath(prefix, number), value: pkcs8 },
    ...certificates.map(({ der, serialNumber }) =>
      clusterCertificateWrite(prefix, serialNumber, { der, role: "" }),
    ),
  ];
  return { roots: next, writes, wipe: () => void pkcs8.fill(0) };
}

/** Whether its key is needed by the roots as they will be: of the two, only one that is trusted can sign again. */
function mayStillSign(root: ClusterRoot, { active, other }: ClusterRoots): boolean {
  if (root.number === active.number) return true;
  return root.number === other?.number && (other.standing === "incoming" || other.standing === "outgoing");
}
