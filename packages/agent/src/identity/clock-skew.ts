import { RksError } from "@rk8s/protocol";
import type { Certificate } from "@rk8s/x509";

/**
 * CLOCK_SKEW when it is now too early or too late for one of the certificates, with how far the clocks are apart at
 * least; undefined when the dates hold. Who has made the certificates is the caller's to know.
 */
export function clockSkew(
  certificates: readonly Pick<Certificate, "notBefore" | "notAfter">[],
  { nowMs, whose }: { readonly nowMs: number; readonly whose: string },
): RksError | undefined {
  const notBefore = Math.max(...certificates.map((certificate) => certificate.notBefore));
  const notAfter = Math.min(...certificates.map((certificate) => certificate.notAfter));
  const offMs = nowMs < notBefore ? nowMs - notBefore : nowMs > notAfter ? nowMs - notAfter : 0;
  if (offMs === 0) return undefined;
  const [from, to, now] = [notBefore, notAfter, nowMs].map(isoTime);
  const direction = offMs < 0 ? "behind" : "ahead of";
  return new RksError(
    "CLOCK_SKEW",
    `the clock here says ${now} and is at least ${Math.ceil(Math.abs(offMs) / 1000)} s ${direction} the dates of the ${whose}, whose certificates are valid from ${from} to ${to}`,
    {
      suggestion:
        "Set this host's clock right (timedatectl set-ntp true); when it is right, look at the other one with `rks doctor`.",
    },
  );
}

/** Certificates can carry dates that no `Date` can. */
function isoTime(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? `${ms} ms` : date.toISOString();
}
