/**
 * The candidate that a mistyped word most likely stands for: at most a third of its letters (one at least) may be
 * wrong; case, `-` and `_` do not count. Undefined when nothing is that near.
 */
export function nearestWord(word: string, candidates: readonly string[]): string | undefined {
  const wanted = plain(word);
  const ranked = candidates
    .map((candidate) => ({ candidate, distance: editDistance(wanted, plain(candidate)) }))
    .toSorted((a, b) => a.distance - b.distance);
  const [best] = ranked;
  return best !== undefined && best.distance <= Math.max(1, Math.floor(wanted.length / 3))
    ? best.candidate
    : undefined;
}

function plain(word: string): string {
  return word.slice(0, 64).toLowerCase().replaceAll(/[_-]/g, "");
}

/** Insertions, deletions and substitutions (Levenshtein). */
function editDistance(a: string, b: string): number {
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(substituted, last[j]! + 1, row[j - 1]! + 1));
    }
    last = row;
  }
  return last[b.length]!;
}
