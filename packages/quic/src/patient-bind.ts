import type { Clock, Logger } from "@rk8s/protocol";

/**
 * How long a port that somebody else has is waited for. The default port is one that the kernel gives to whoever asks for any:
 * while nobody listened there another program, or an agent that looks for us, may have got it for one request.
 */
const PATIENCE_MS = 3_000;
const PAUSE_MS = 100;

export interface PatientBindPorts {
  readonly clock: Pick<Clock, "monotonicMs" | "sleep">;
  readonly logger: Logger;
}

/** Bind; while the address is in use, again and again for 3 s. @throws what the last attempt throws. */
export async function bindPatiently<T>(
  bind: () => Promise<T>,
  target: string,
  { clock, logger }: PatientBindPorts,
): Promise<T> {
  const since = clock.monotonicMs();
  for (let isSaid = false; ; isSaid = true) {
    try {
      return await bind();
    } catch (reason) {
      if (!isInUse(reason) || clock.monotonicMs() - since >= PATIENCE_MS) throw reason;
      if (!isSaid)
        logger.warn("Somebody else has the port; it is waited for", { target, forMs: PATIENCE_MS });
    }
    await clock.sleep(PAUSE_MS);
  }
}

function isInUse(reason: unknown): boolean {
  return reason instanceof Error && "code" in reason && reason.code === "EADDRINUSE";
}
