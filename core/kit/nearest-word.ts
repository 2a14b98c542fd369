/**
 * The known word a misspelt one most likely meant, by edit distance (a swap of neighbours counts once), or undefined
 * when nothing is near: with more than two letters and a third of them wrong it is another word, not a slip.
 */
export function nearestWord(word: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = (word.length <= 3 ? 1 : Math.max(2, Math.floor(word.length / 3))) + 1;
  for (const candidate of known) {
    const [a, b] = [word.toLowerCase(), candidate.toLowerCase()];
    // A word cut short or written on is one slip, however long the rest: `memory` for `memory_mb`.
    const isCut = a.length >= 3 && b.length >= 3 && (a.startsWith(b) || b.startsWith(a));
    // Of equally near ones the one with the same first letter: slips there are rare.
    const distance = (isCut ? Math.min(1, editDistance(a, b)) : editDistance(a, b)) + (a[0] === b[0] ? 0 : 0.5);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** `, did you mean "x"?` or nothing; appended to a message about an unknown word. */
export function didYouMean(word: string, known: Iterable<string>): string {
  const nearest = nearestWord(word, known);
  return nearest === undefined ? '' : `, did you mean "${nearest}"?`;
}

/** Optimal string alignment distance, with three rows. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (last[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let distance = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, substitution);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        distance = Math.min(distance, (beforeLast[j - 2] ?? 0) + 1);
      }
      row.push(distance);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] ?? 0;
}
