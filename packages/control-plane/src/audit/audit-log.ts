import type { ErrorCode } from "@rk8s/protocol";

/** Facts beside an audit record. Never a secret: ids, names, digests and numbers only. */
export type AuditFields = Readonly<
  Record<string, string | number | boolean | null | readonly string[] | undefined>
>;

/** What somebody is about to do, or was refused. */
export interface AuditEvent {
  /** For example `join`, `join-token.create`, `node.evict`. */
  readonly operation: string;
  /** Who asks: `operator (socket)`, `join token 0123456789abcdef`, `node worker-1`. */
  readonly actor: string;
  readonly fields?: AuditFields;
}

/** How it ended. */
export interface AuditOutcome {
  /** `refused`: a rule said no and nothing changed; `failed`: it was allowed and did not work. */
  readonly outcome: "done" | "refused" | "failed";
  /** Of the error, when there was one. */
  readonly code?: ErrorCode;
  readonly message?: string;
  readonly fields?: AuditFields;
}

/**
 * The record of everything that was issued, changed or refused. What changes something goes through `audited`:
 * intent on disk, then the change, then the result on disk, then the answer. `file-audit.ts` is the adapter.
 */
export interface AuditLog extends AsyncDisposable {
  /**
   * Record what is about to happen; resolves with the record's id when it is on disk.
   * @throws {RksError} AUDIT_UNWRITABLE, and then the caller must not go on; BUSY when too many records wait.
   */
  intent(event: AuditEvent): Promise<string>;
  /**
   * Record how it ended; resolves when it is on disk. `intentId` is absent for what was refused before anything
   * was intended.
   * @throws {RksError} AUDIT_UNWRITABLE, and then the caller must not hand out what was issued; BUSY.
   */
  result(event: AuditEvent, outcome: AuditOutcome, intentId?: string): Promise<void>;
}
