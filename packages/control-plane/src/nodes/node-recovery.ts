import { z } from "zod";

/** Recoveries of a node that are remembered; a grant allows no more in its window. */
export const MAX_REMEMBERED_RECOVERIES = 100;

/** Recoveries that need no key of the machine: so many in so many seconds. */
export const recoveryGrant = z.object({
  recoveries: z.int().min(1).max(MAX_REMEMBERED_RECOVERIES),
  windowSeconds: z.int().min(1),
});

/** How a node comes back when its key is lost with the process that had it. */
export const nodeRecovery = z.object({
  /** How often the node was brought back; the next recovery must name it. */
  sequence: z.int().min(0),
  /** The certificate of the last recovery has not been seen on a connection yet. */
  isUnconfirmed: z.boolean().optional(),
  /** Of the machine that registered first after the last join; hexadecimal digits. */
  machineIdSha256: z.string().optional(),
  /** The key that the machine keeps. */
  key: z
    .object({
      kind: z.enum(["tpm", "ssh-host-key"]),
      /** SubjectPublicKeyInfo (DER) or SSH public key blob, base64. */
      publicKey: z.string(),
      enrolledAt: z.iso.datetime(),
    })
    .optional(),
  /** What the join token allowed without any key. */
  grant: recoveryGrant.extend({ cidr: z.string() }).optional(),
  /** The latest recoveries, oldest first. */
  past: z.array(
    z.object({
      at: z.iso.datetime(),
      kind: z.enum(["tpm", "ssh-host-key", "grant"]),
      remoteHost: z.string(),
    }),
  ),
});

export type NodeRecovery = z.infer<typeof nodeRecovery>;

/** Of a node that was never brought back and has no way back yet. */
export const NO_RECOVERY: NodeRecovery = { sequence: 0, past: [] };

/** Recoveries that the grant still allows now. */
export function grantsLeft({ grant, past }: NodeRecovery, now: number): number {
  if (grant === undefined) return 0;
  const since = now - grant.windowSeconds * 1000;
  const used = past.filter(({ kind, at }) => kind === "grant" && Date.parse(at) > since).length;
  return Math.max(0, grant.recoveries - used);
}

/** What a `Certificate` says of it. */
export function recoveryTerms(
  recovery: NodeRecovery,
  now: number,
): { readonly sequence: number; readonly grantsLeft: number } {
  return { sequence: recovery.sequence, grantsLeft: grantsLeft(recovery, now) };
}

/**
 * After a join. A node that comes back with a token may be another machine: what bound it to the one before is
 * forgotten, and its old number with it. A grant stays unless the token brings a new one.
 */
export function afterJoin(
  before: NodeRecovery | undefined,
  join: {
    readonly grant: { readonly recoveries: number; readonly windowSeconds: number } | undefined;
    /** Where recoveries by grant may come from. */
    readonly cidr: string;
  },
): NodeRecovery {
  const terms = join.grant ?? before?.grant;
  const grant = terms === undefined ? {} : { grant: { ...terms, cidr: join.cidr } };
  return { sequence: before === undefined ? 0 : before.sequence + 1, ...grant, past: before?.past ?? [] };
}

/** After one recovery. */
export function afterRecovery(before: NodeRecovery, recovery: NodeRecovery["past"][number]): NodeRecovery {
  return {
    ...before,
    sequence: before.sequence + 1,
    isUnconfirmed: true,
    past: [...before.past, recovery].slice(-MAX_REMEMBERED_RECOVERIES),
  };
}
