/** First possible key (inclusive) and last (exclusive) of a prefix: UTF-8 holds no byte 0xff. */
export function prefixRange(prefix: string): readonly [Buffer, Buffer] {
  const bytes = Buffer.from(prefix);
  return [bytes, Buffer.concat([bytes, Buffer.of(0xff)])];
}
