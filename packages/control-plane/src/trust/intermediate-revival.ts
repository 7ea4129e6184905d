import { type Logger, RksError } from "@rk8s/protocol";
import { requestPem } from "../pki/cluster-intermediate-request.js";
import type { ClusterCa } from "../pki/cluster-ca.js";
import type { CaRotation } from "./ca-rotation.js";

/** Where people and rks meet over an offline root's intermediate while rks cannot be asked. All of it is public. */
export interface IntermediateFiles {
  /** What people have put there, PEM; undefined when there is nothing. */
  read(): Promise<string | undefined>;
  /** Leave a request, PEM, for the root to sign. */
  leaveRequest(pem: string): Promise<void>;
  /** Remove what was taken in, and the request for it. */
  forget(): Promise<void>;
}

/**
 * Before anything is served: take in the intermediate that people have left for an offline root. When the present one has
 * ended and there is none, leave a request for the same key: without a certificate nothing can be served, and nobody can
 * ask. Never rejects.
 */
export async function reviveIntermediate(ports: {
  readonly clusterCa: Pick<ClusterCa, "intermediateNotAfter" | "requestAgain">;
  readonly rotation: Pick<CaRotation, "step">;
  readonly files: IntermediateFiles | undefined;
  readonly nowMs: number;
  readonly logger: Logger;
}): Promise<void> {
  const { clusterCa, rotation, files, nowMs, logger } = ports;
  const { intermediateNotAfter } = clusterCa;
  if (intermediateNotAfter === undefined || files === undefined) return;
  try {
    const certificates = await files.read();
    if (certificates !== undefined) {
      await rotation.step("renew", { actor: "rks", certificates });
      await files.forget();
      return;
    }
  } catch (reason) {
    const { code, message } = RksError.from(reason);
    logger.error("Intermediate in the vault folder was not taken", { code, reason: message });
  }
  if (nowMs < intermediateNotAfter) return;
  const request = clusterCa.requestAgain();
  if (request === undefined) return;
  await files.leaveRequest(requestPem(request)).catch((reason: unknown) => {
    const { code, message } = RksError.from(reason);
    logger.error("Request for an intermediate could not be written", { code, reason: message });
  });
}
