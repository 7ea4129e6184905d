/** What Node has under a symbol of that name; its own maps and sets, which are of no class that others know. */
interface Hidden {
  readonly size: number;
  get?(type: string): { readonly size: number } | undefined;
}

/**
 * How much hangs on a signal: its listeners, and what `AbortSignal.any` has left there. The test of `LinkedAbort` notices a
 * Node that keeps them elsewhere.
 */
export function signalLoad(signal: AbortSignal): number {
  const listeners = hidden(signal, "kEvents")?.get?.("abort")?.size ?? 0;
  return listeners + (hidden(signal, "kDependantSignals")?.size ?? 0);
}

function hidden(signal: AbortSignal, name: string): Hidden | undefined {
  const symbol = Object.getOwnPropertySymbols(signal).find(({ description }) => description === name);
  if (symbol === undefined) return undefined;
  return (signal as unknown as Readonly<Record<symbol, Hidden>>)[symbol];
}
