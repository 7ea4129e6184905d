import { readFile } from "node:fs/promises";
import type { Found } from "@rk8s/host/diagnosis";
import { RksError } from "@rk8s/protocol";
import { type Certificate, decodePemCertificates, parseCertificate } from "@rk8s/x509";
import { errnoOf } from "../lifecycle/durable-file.js";
import { expiredRootRemedy, isOwnRoot } from "../pki/cluster-root.js";

/** Part of the root's life after which somebody should think of the next one. */
const OLD_ROOT = 0.9;

/**
 * Look at the roots in `root.pem`: the first one signs, another one is trusted while the root changes.
 * @throws {RksError} CERTIFICATE_EXPIRED when the time of the one that signs is over; CERTIFICATE_INVALID for a file without any.
 */
export async function lookAtRoots(file: string, nowMs: number): Promise<Found<void>> {
  const [signing, ...others] = await readRoots(file);
  if (signing === undefined) {
    return {
      status: "warn",
      detail: `there is no "${file}"`,
      remedy:
        "Start rks, which writes it; with the store in an etcd copy it from `rks gen xline-certs --rks NAME`.",
    };
  }
  const isOffline = !isOwnRoot(signing);
  const living = others.filter(({ notAfter }) => nowMs < notAfter);
  if (nowMs >= signing.notAfter) {
    throw new RksError("CERTIFICATE_EXPIRED", `the root certificate expired at ${dateOf(signing)}`, {
      suggestion: expiredRootRemedy({ hasNext: !isOffline || living.length > 0 }),
    });
  }
  const detail =
    others.length === 0
      ? `the root certificate is valid until ${dateOf(signing)}`
      : `the root that signs is valid until ${dateOf(signing)}; others that are trusted, until ${others.map(dateOf).join(" and ")}`;
  const warn = (remedy: string): Found<void> => ({ status: "warn", detail, remedy });
  if (living.length < others.length) return warn("End the root rotation: `rks ca status` says how.");
  const { notBefore, notAfter } = signing;
  if ((nowMs - notBefore) / (notAfter - notBefore) < OLD_ROOT) return { detail, value: undefined };
  if (others.length > 0) return warn("Go on with the root rotation: `rks ca status` says what is next.");
  return warn(
    isOffline
      ? "Move on to the next root now, as docs/offline-root.md says."
      : "Begin a root rotation now: `rks ca prepare`.",
  );
}

/** None: the file is not there. */
async function readRoots(file: string): Promise<readonly Certificate[]> {
  let pem: string;
  try {
    pem = await readFile(file, "utf8");
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") return [];
    throw new RksError("CONFIG_INVALID", `cannot read "${file}"`, {
      cause,
      suggestion: "Let the user of rks read it.",
    });
  }
  return decodePemCertificates(pem).map((der) => parseCertificate(der));
}

function dateOf({ notAfter }: Certificate): string {
  return new Date(notAfter).toISOString();
}
