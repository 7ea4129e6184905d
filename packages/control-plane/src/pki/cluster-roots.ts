import { createHash } from "node:crypto";
import { hex } from "@rk8s/protocol";
import { type Certificate, parseCertificate } from "@rk8s/x509";
import { z } from "zod";

/**
 * What a root is to the cluster. `active`: it signs. `incoming`: trusted, will sign. `outgoing`: trusted, does not sign any
 * more. `tainted`: nobody is told to trust it; nodes it signed may still come to be signed anew. `retired`: not trusted;
 * known only so that whoever comes late can be told.
 */
const standing = z.enum(["active", "incoming", "outgoing", "tainted", "retired"]);
export type RootStanding = z.infer<typeof standing>;

/** Intermediates of one root that have not ended: a new one is due once in months. */
export const MAX_INTERMEDIATES = 8;

const der = z.base64();
/** How the roots are kept in the barrier. */
const clusterRootsRecord = z.object({
  generation: z.int().min(0),
  /** When the newest generation began. */
  since: z.iso.datetime(),
  /** SHA-256 of the first root's SubjectPublicKeyInfo: what the cluster is known by, for ever. */
  founder: z.string(),
  /** Roots made so far; a number is never given twice. */
  lastNumber: z.int().min(1),
  roots: z
    .array(
      z.object({
        number: z.int().min(1),
        standing,
        certificate: der,
        /** Its name and key, signed by the other root. */
        cross: der.optional(),
        /** Who signs for a root whose key is kept elsewhere; the newest first. */
        intermediates: z
          .array(z.object({ certificate: der, isTainted: z.boolean() }))
          .min(1)
          .max(MAX_INTERMEDIATES)
          .optional(),
      }),
    )
    .min(1)
    .max(2),
});

/** An intermediate certificate that a root signed whose key is kept elsewhere. */
export interface ClusterIntermediate {
  readonly certificate: Certificate;
  /** Nobody is to accept what it signed; nodes whose certificates it signed may still come to be signed anew. */
  readonly isTainted: boolean;
}

/** A root certificate of the cluster. */
export interface ClusterRoot {
  /** 1 is the one that `rks gen certs` made. */
  readonly number: number;
  readonly standing: RootStanding;
  readonly certificate: Certificate;
  /** SHA-256 of its SubjectPublicKeyInfo: what join tokens pin. */
  readonly spkiSha256: Uint8Array;
  /** The same name and key, signed by the other root: with it, who trusts only the other one can verify this one. */
  readonly cross: Certificate | undefined;
  /** Who signs for it when its key is not here, the one that signs now first; empty: it signs itself. */
  readonly intermediates: readonly ClusterIntermediate[];
}

/** The cluster's roots: the one that signs, and at most one more, which a rotation brings in or takes out. */
export interface ClusterRoots {
  /** Grows with every change; 0 before the first. */
  readonly generation: number;
  readonly since: string;
  readonly founder: string;
  readonly lastNumber: number;
  readonly active: ClusterRoot;
  readonly other: ClusterRoot | undefined;
}

/** The phases of a rotation. */
export type RotationPhase = "steady" | "prepared" | "activated" | "tainted";

const PHASES: Readonly<Record<RootStanding, RotationPhase>> = {
  active: "steady",
  incoming: "prepared",
  outgoing: "activated",
  tainted: "tainted",
  retired: "steady",
};

/** Which phase the roots are in. */
export function phaseOf({ other }: Pick<ClusterRoots, "other">): RotationPhase {
  return other === undefined ? "steady" : PHASES[other.standing];
}

/** All roots there are, the one that signs first. */
export function rootsOf({ active, other }: Pick<ClusterRoots, "active" | "other">): readonly ClusterRoot[] {
  return other === undefined ? [active] : [active, other];
}

/** Whether a root's key is kept outside of the cluster, so that an intermediate signs for it. */
export function isOffline({ intermediates }: ClusterRoot): boolean {
  return intermediates.length > 0;
}

/** Whose signature stands for a root: its own, or that of its intermediates; the one that signs now first. */
export function issuersOf({ certificate, intermediates }: ClusterRoot): readonly ClusterIntermediate[] {
  return intermediates.length > 0 ? intermediates : [{ certificate, isTainted: false }];
}

/** Who signs for a root now. */
export function issuerOf(root: ClusterRoot): Certificate {
  return (root.intermediates[0] ?? root).certificate;
}

/** SHA-256 of the SubjectPublicKeyInfo of those whose signatures members are not to accept, whatever root leads to them. */
export function refusedIssuers(roots: ClusterRoots): readonly Uint8Array[] {
  return rootsOf(roots)
    .flatMap(({ intermediates }) => intermediates)
    .filter(({ isTainted }) => isTainted)
    .map(({ certificate }) => spkiSha256Of(certificate));
}

/** What members are to trust: DER, the root that signs first. */
export function trustedRoots({ active, other }: ClusterRoots): readonly Uint8Array[] {
  const isTrusted = other?.standing === "incoming" || other?.standing === "outgoing";
  return [active.certificate.der, ...(isTrusted ? [other.certificate.der] : [])];
}

/**
 * What a certificate of the active root is presented with, so that everybody who trusts either root can verify it, and
 * whoever has only a pin finds the root that it is of: the intermediate that signed it if the root is offline, the
 * cross-certificate, the root that signed it, the active root. In this order it verifies with one root or both, in BoringSSL
 * and OpenSSL; see docs/adr/0022 and 0031.
 */
export function issuerChain({ active, other }: ClusterRoots, now: number): readonly Uint8Array[] {
  const { cross } = active;
  const below = isOffline(active) ? [issuerOf(active).der] : [];
  const isUseful = cross !== undefined && other !== undefined && other.standing !== "tainted";
  if (!isUseful || now >= cross.notAfter) return [...below, active.certificate.der];
  return [...below, cross.der, other.certificate.der, active.certificate.der];
}

/** A root that was found or made, with what follows from its certificate. */
export function clusterRoot(init: {
  readonly number: number;
  readonly standing: RootStanding;
  readonly certificate: Uint8Array;
  readonly cross?: Uint8Array | undefined;
  readonly intermediates?: readonly ClusterIntermediate[];
}): ClusterRoot {
  const certificate = parseCertificate(init.certificate);
  return {
    number: init.number,
    standing: init.standing,
    certificate,
    spkiSha256: spkiSha256Of(certificate),
    cross: init.cross === undefined ? undefined : parseCertificate(init.cross),
    intermediates: init.intermediates ?? [],
  };
}

/** SHA-256 of a certificate's SubjectPublicKeyInfo. */
export function spkiSha256Of({ spki }: Pick<Certificate, "spki">): Uint8Array {
  return createHash("sha256").update(spki).digest();
}

/** The roots of a cluster whose root was never rotated. */
export function foundingRoots(
  certificate: Uint8Array,
  intermediates: readonly ClusterIntermediate[] = [],
): ClusterRoots {
  const active = clusterRoot({ number: 1, standing: "active", certificate, intermediates });
  return {
    generation: 0,
    since: new Date(active.certificate.notBefore).toISOString(),
    founder: hex(active.spkiSha256),
    lastNumber: 1,
    active,
    other: undefined,
  };
}

/** @throws Error when the text is no such record, or none of its roots or more than one is active. */
export function decodeClusterRoots(json: string): ClusterRoots {
  const { roots, ...rest } = clusterRootsRecord.parse(JSON.parse(json));
  const read = roots.map(({ certificate, cross, intermediates = [], ...root }) =>
    clusterRoot({
      ...root,
      certificate: fromBase64(certificate),
      cross: cross === undefined ? undefined : fromBase64(cross),
      intermediates: intermediates.map((one) => ({
        certificate: parseCertificate(fromBase64(one.certificate)),
        isTainted: one.isTainted,
      })),
    }),
  );
  const active = read.find((root) => root.standing === "active");
  const other = read.find((root) => root.standing !== "active");
  if (active === undefined || (read.length > 1 && other === undefined)) {
    throw new Error("not exactly one root is active");
  }
  return { ...rest, active, other };
}

/** The record of the roots as JSON. */
export function encodeClusterRoots({ active, other, ...rest }: ClusterRoots): string {
  const roots = rootsOf({ active, other }).map((root) => ({
    number: root.number,
    standing: root.standing,
    certificate: toBase64(root.certificate),
    ...(root.cross === undefined ? {} : { cross: toBase64(root.cross) }),
    ...(root.intermediates.length === 0
      ? {}
      : {
          intermediates: root.intermediates.map(({ certificate, isTainted }) => ({
            certificate: toBase64(certificate),
            isTainted,
          })),
        }),
  }));
  return JSON.stringify({ ...rest, roots });
}

function toBase64({ der: bytes }: Certificate): string {
  return Buffer.from(bytes).toString("base64");
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, "base64"));
}
