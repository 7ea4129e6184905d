/** Keys are dropped in bunches: an old one, and what the transport held of it a moment later. */
const DELAY_MS = 1000;

let isDue = false;

/**
 * Have the garbage collector free within about a second what was dropped now, keys above all: native code clears them
 * as it frees them. Without node's `--expose-gc` nothing is done, and it happens in V8's own time.
 */
export function collectSoon(): void {
  const { gc } = globalThis;
  if (gc === undefined || isDue) return;
  isDue = true;
  setTimeout(() => {
    isDue = false;
    gc();
  }, DELAY_MS).unref();
}
