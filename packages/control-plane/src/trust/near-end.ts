/** Of a certificate's life, what is left when it is time for the next where people have to bring that. */
const LEFT = 1 / 3;

/** When a certificate begins and ends; milliseconds. */
export interface Validity {
  readonly notBefore: number;
  readonly notAfter: number;
}

/** Whether it is time for the next certificate, which somebody has to bring. */
export function isNearEnd({ notBefore, notAfter }: Validity, now: number): boolean {
  return notAfter - now <= (notAfter - notBefore) * LEFT;
}
