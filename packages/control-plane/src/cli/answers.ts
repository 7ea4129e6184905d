import { z } from "zod";

/** What rks answers, as far as the commands print it. Unknown fields are kept: `--json` shows them. */

const migration = z.looseObject({
  phase: z.string(),
  from: z.string(),
  to: z.string(),
  startedAt: z.string(),
  entries: z.number(),
  parts: z.number(),
  verified: z.number(),
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
  pausedMs: z.number().nullable(),
});
const storeStatus = z.looseObject({
  type: z.string(),
  store: z.string(),
  members: z.array(z.string()),
  epoch: z.number(),
  restoredFrom: z.string().nullable(),
  gaveUp: z.string().nullable(),
  movedTo: z.string().nullable(),
  migration: migration.nullable(),
});
export const storeStatusAnswer = z.object({ data: storeStatus });
export type PrintedStoreStatus = z.output<typeof storeStatus>;
export type PrintedMigration = z.output<typeof migration>;
export const backupAnswer = z.object({
  data: z.looseObject({ vault: z.string(), createdAt: z.string(), entries: z.number(), digest: z.string() }),
});
export const storeFilesAnswer = z.object({ data: z.object({ folders: z.array(z.string()) }) });
export const storeReportAnswer = z.object({
  data: z.object({
    entries: z.number(),
    bytes: z.number(),
    damaged: z.number(),
    damagedKeys: z.array(z.string()),
  }),
});

export const statusAnswer = z.object({
  data: z.object({
    version: z.string(),
    pid: z.number(),
    startedAt: z.string(),
    initialized: z.boolean(),
    sealed: z.boolean(),
    sealType: z.string(),
    threshold: z.number(),
    shares: z.number(),
    progress: z.number(),
    unattendedStart: z.enum(["ready", "unusable", "none"]),
    quic: z.string().nullable(),
    http: z.string().nullable(),
    socket: z.string(),
    storage: storeStatus.optional(),
  }),
});

export const sealStatusAnswer = z.object({
  type: z.string(),
  initialized: z.boolean(),
  sealed: z.boolean(),
  t: z.number(),
  n: z.number(),
  progress: z.number(),
  version: z.string(),
});

export const auditHeadAnswer = z.object({
  data: z.object({ sequence: z.int().min(0), sha256: z.string() }),
});

export const deviceHeadAnswer = z.object({
  data: z.object({ file_path: z.string(), sequence: z.int().min(0), sha256: z.string() }),
});

export const createdTokenAnswer = z.object({
  data: z.object({
    token: z.string(),
    id: z.string(),
    expiresAt: z.string(),
    uses: z.number().nullable(),
    node: z.string().nullable(),
    cidr: z.string().nullable(),
    role: z.enum(["node", "operator"]),
    policies: z.array(z.string()),
    rootCertPath: z.string(),
    /** PEM, as in that file; null when rks could not read it. */
    rootCertificates: z.string().nullable(),
    /** `host:port` for the worker's command. */
    address: z.string(),
  }),
});
export type CreatedToken = z.output<typeof createdTokenAnswer>["data"];

const listedToken = z.object({
  id: z.string(),
  role: z.enum(["node", "operator"]),
  status: z.string(),
  uses: z.number().nullable(),
  usedCount: z.number(),
  usedBy: z.array(z.object({ node: z.string(), at: z.string() })),
  node: z.string().nullable(),
  cidr: z.string().nullable(),
  rejoin: z.boolean(),
  createdAt: z.string(),
  expiresAt: z.string(),
  revokedAt: z.string().nullable(),
});
export const listedTokenAnswer = z.object({ data: listedToken });
export const tokenListAnswer = z.object({ data: z.object({ joinTokens: z.array(listedToken) }) });
export type ListedToken = z.output<typeof listedToken>;

const caStatus = z.looseObject({
  phase: z.string(),
  generation: z.number(),
  since: z.string(),
  roots: z.array(
    z.looseObject({
      number: z.number(),
      standing: z.string(),
      subject: z.string(),
      spkiSha256: z.string(),
      notAfter: z.string(),
      crossNotAfter: z.string().nullable(),
      intermediates: z
        .array(
          z.looseObject({
            standing: z.string(),
            subject: z.string(),
            notAfter: z.string(),
            spkiSha256: z.string(),
          }),
        )
        .default([]),
    }),
  ),
  nodes: z.number(),
  notAcknowledgedCount: z.number(),
  notAcknowledged: z.array(z.string()),
  withOldCertificateCount: z.number(),
  withOldCertificate: z.array(z.string()),
  storeMembers: z.number().default(0),
  storeMembersBehind: z.array(z.looseObject({ endpoint: z.string(), code: z.string() })).default([]),
  tokensWithOtherPin: z.number(),
  warnings: z.array(z.string()).default([]),
  next: z.string(),
});
export const caRequestAnswer = z.object({ data: z.object({ csr: z.string() }) });
export const caStatusAnswer = z.object({ data: caStatus });
export const caStepAnswer = z.object({ data: caStatus.extend({ tokensRevoked: z.number() }) });
export type PrintedCaStatus = z.output<typeof caStatus>;

const listedNode = z.looseObject({
  name: z.string(),
  status: z.string(),
  address: z.string(),
  certificateSerial: z.string(),
  certificateNotAfter: z.string(),
  lastHeartbeat: z.string().nullable(),
  joinedAt: z.string(),
  version: z.string(),
});
export const nodeAnswer = z.object({ data: listedNode });
export const nodeListAnswer = z.object({ data: z.object({ nodes: z.array(listedNode) }) });
export type ListedNode = z.output<typeof listedNode>;
