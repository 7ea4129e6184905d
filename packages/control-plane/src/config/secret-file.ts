import { stat } from "node:fs/promises";

/** Mode bits of everybody but the owner. */
const OTHERS = 0o077;

/** Whether users besides its owner may use a file of that mode. */
export function letsOthersIn(mode: number): boolean {
  return (mode & OTHERS) !== 0;
}

/** The same of a file that holds a secret; false when it is not there. */
export async function isOpenToOthers(file: string): Promise<boolean> {
  return stat(file).then(
    ({ mode }) => letsOthersIn(mode),
    () => false,
  );
}
