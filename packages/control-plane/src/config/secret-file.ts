import { stat } from "node:fs/promises";

/** Mode bits of everybody but the owner. */
const OTHERS = 0o077;

/** Whether users besides its owner may use a file that holds a secret; false when it is not there. */
export async function isOpenToOthers(file: string): Promise<boolean> {
  return stat(file).then(
    ({ mode }) => (mode & OTHERS) !== 0,
    () => false,
  );
}
