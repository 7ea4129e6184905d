import { z } from "zod";

import type { Answer, JsonObject } from "../backend.js";
import { count, flag, list, requiredText, text } from "../field-types.js";
import { type BackendPath, operation } from "../path-table.js";
import type { NewShares, RekeyStatus, VerificationStatus } from "../seal/rekey.js";
import { assertNotAsked } from "./not-asked.js";
import { describeShares } from "./describe-shares.js";
import type { SealPathPorts } from "./seal-paths.js";

type Form = NonNullable<Answer["form"]>;
type Ports = Pick<SealPathPorts, "operate" | "afterRekey">;

const shareFields = z.object({ key: requiredText({ maxCharacters: 1024 }), nonce: text("") });

/**
 * The paths that replace the unseal shares, relative to `sys/`: `rekey/…` as Vault's clients call them, with bare
 * answers, and `rotate/root/…` as OpenBao's do, in the envelope. All of them take `sudo`: nobody else may begin, disturb or
 * cancel it (CVE-2026-5807).
 */
export function rekeyPaths(ports: Ports): readonly BackendPath[] {
  return [...pathsUnder("rekey", "bare", ports), ...pathsUnder("rotate/root", "envelope", ports)];
}

function pathsUnder(prefix: string, form: Form, ports: Ports): readonly BackendPath[] {
  return [
    initPath(prefix, form, ports),
    updatePath(prefix, form, ports),
    verifyPath(prefix, form, ports),
    {
      pattern: `${prefix}/backup`,
      operations: {
        read: operation({
          access: "sudo",
          summary: "Read the backup of shares; there never is one.",
          handle: () => undefined,
        }),
        delete: operation({
          access: "sudo",
          summary: "Delete the backup of shares; there never is one.",
          handle: () => undefined,
        }),
      },
    },
  ];
}

function initPath(prefix: string, form: Form, { operate }: Ports): BackendPath {
  return {
    pattern: `${prefix}/init`,
    operations: {
      read: operation({
        access: "sudo",
        summary: "Tell how far replacing the unseal shares is.",
        handle: async () => ({
          data: describe(await operate(({ rekey }) => Promise.resolve(rekey.status()))),
          form,
        }),
      }),
      update: operation({
        access: "sudo",
        summary: "Begin to replace the unseal shares.",
        fields: z.object({
          secret_shares: count(0),
          secret_threshold: count(0),
          require_verification: flag(false),
          stored_shares: count(0),
          pgp_keys: list([]),
          backup: flag(false),
        }),
        handle: async ({ fields }) => {
          const {
            secret_shares: shares,
            secret_threshold: threshold,
            require_verification: requireVerification,
            ...others
          } = fields;
          assertNotAsked(others);
          const status = await operate(({ rekey }) =>
            Promise.resolve(rekey.start({ shares, threshold, requireVerification })),
          );
          return { data: describe(status), form };
        },
      }),
      delete: operation({
        access: "sudo",
        summary: "Cancel replacing the unseal shares; the present ones stay good.",
        fields: z.object({ nonce: text("") }),
        handle: async ({ fields }) => {
          await operate(({ rekey }) => Promise.resolve(rekey.cancel(fields.nonce)));
          return undefined;
        },
      }),
    },
  };
}

function updatePath(prefix: string, form: Form, { operate, afterRekey }: Ports): BackendPath {
  return {
    pattern: `${prefix}/update`,
    operations: {
      update: operation({
        access: "sudo",
        summary: "Give one of the present unseal shares; the last one needed gives the new shares.",
        fields: shareFields,
        handle: async ({ fields }) => {
          const { made, status } = await operate(async ({ rekey }) => {
            const result = await rekey.add(fields.key, fields.nonce);
            return { made: result, status: rekey.status() };
          });
          if (made === undefined) return { data: describe(status), form };
          const isInForce = made.verificationNonce === undefined;
          return withWarnings(describeNew(made), form, isInForce ? await afterRekey() : []);
        },
      }),
    },
  };
}

function verifyPath(prefix: string, form: Form, { operate, afterRekey }: Ports): BackendPath {
  return {
    pattern: `${prefix}/verify`,
    operations: {
      read: operation({
        access: "sudo",
        summary: "Tell how far verifying the new shares is.",
        handle: async () => ({
          data: describeVerification(await operate(({ rekey }) => Promise.resolve(rekey.verification()))),
          form,
        }),
      }),
      update: operation({
        access: "sudo",
        summary: "Give one of the new shares back; the last one needed puts them in force.",
        fields: shareFields,
        handle: async ({ fields }) => {
          const { isDone, status } = await operate(async ({ rekey }) => ({
            isDone: await rekey.verify(fields.key, fields.nonce),
            status: rekey.verification(),
          }));
          if (!isDone) return { data: describeVerification(status), form };
          return withWarnings({ nonce: fields.nonce, complete: true }, form, await afterRekey());
        },
      }),
      delete: operation({
        access: "sudo",
        summary: "Begin verifying the new shares anew.",
        handle: async () => ({
          data: describeVerification(
            await operate(({ rekey }) => Promise.resolve(rekey.restartVerification())),
          ),
          form,
        }),
      }),
    },
  };
}

/** A bare answer has no envelope around it for warnings; they stand in it. */
function withWarnings(data: JsonObject, form: Form, warnings: readonly string[]): Answer {
  if (warnings.length === 0) return { data, form };
  return { data: form === "bare" ? { ...data, warnings } : data, form, warnings };
}

function describe(status: RekeyStatus): JsonObject {
  return {
    nonce: status.nonce,
    started: status.nonce !== "",
    t: status.threshold,
    n: status.shares,
    progress: status.progress,
    required: status.required,
    pgp_fingerprints: null,
    backup: false,
    verification_required: status.verificationRequired,
    ...(status.verificationNonce === "" ? {} : { verification_nonce: status.verificationNonce }),
  };
}

function describeNew({ nonce, shares, verificationNonce }: NewShares): JsonObject {
  return {
    nonce,
    complete: true,
    ...describeShares(shares),
    pgp_fingerprints: null,
    backup: false,
    verification_required: verificationNonce !== undefined,
    ...(verificationNonce === undefined ? {} : { verification_nonce: verificationNonce }),
  };
}

function describeVerification(status: VerificationStatus): JsonObject {
  return {
    nonce: status.nonce,
    started: status.nonce !== "",
    t: status.threshold,
    n: status.shares,
    progress: status.progress,
  };
}
