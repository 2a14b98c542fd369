/** What became of an edit: the new text, or one sentence for the model about why there is none. */
export type Edit =
  | { readonly text: string; readonly count: number; readonly diff: string }
  | { readonly problem: string };

/** Places shown in a diff, and lines of each. */
const placesMax = 5;
const placeLinesMax = 12;
/** Lines looked at for one that is like what was looked for, and the least likeness worth telling, from 0 to 1. */
const likenessLinesMax = 20_000;
const likenessMin = 0.5;
const shownCharsMax = 300;

/**
 * Replaces an exact text that stands in a file once, or everywhere if told. A text that is not there, or there more than
 * once, changes nothing: guessing the place would be worse than asking again.
 */
export function editText(text: string, oldString: string, newString: string, replaceAll: boolean): Edit {
  if (oldString === newString) return { problem: 'old_string and new_string are the same.' };
  const [wanted, given] = withLineEnds(text, oldString, newString);
  const places = placesOf(text, wanted);
  if (places.length === 0) return { problem: notFound(text, wanted) };
  if (places.length > 1 && !replaceAll) {
    const lines = places.slice(0, 10).map((at) => lineAt(text, at));
    const more = places.length > 10 ? ', …' : '';
    return {
      problem: `old_string stands ${places.length} times in the file (lines ${lines.join(', ')}${more}). Add lines around it until it is unique, or set replace_all.`,
    };
  }
  return {
    text: text.split(wanted).join(given),
    count: places.length,
    diff: describeDiff(text, places, wanted, given),
  };
}

/** The old and new text of one place as lines with `-` and `+`, for people and models. */
export function diffLines(oldString: string, newString: string): string {
  const before = oldString.split('\n');
  const after = newString.split('\n');
  let same = 0;
  while (same < before.length && same < after.length && before[same] === after[same]) same += 1;
  let end = 0;
  const room = Math.min(before.length, after.length) - same;
  while (end < room && before.at(-1 - end) === after.at(-1 - end)) end += 1;
  const removed = before.slice(same, before.length - end);
  const added = after.slice(same, after.length - end);
  return [...someLines(removed).map((line) => `- ${line}`), ...someLines(added).map((line) => `+ ${line}`)].join('\n');
}

/** A file with Windows line ends is edited with the plain ones that models write. */
function withLineEnds(text: string, oldString: string, newString: string): [string, string] {
  if (!text.includes('\r\n') || oldString.includes('\r\n') || !/\n/.test(oldString + newString)) {
    return [oldString, newString];
  }
  return [oldString.replaceAll('\n', '\r\n'), newString.replaceAll(/\r?\n/g, '\r\n')];
}

function placesOf(text: string, wanted: string): number[] {
  const places: number[] = [];
  for (let at = text.indexOf(wanted); at !== -1; at = text.indexOf(wanted, at + wanted.length)) places.push(at);
  return places;
}

function lineAt(text: string, at: number): number {
  let line = 1;
  for (let found = text.indexOf('\n'); found !== -1 && found < at; found = text.indexOf('\n', found + 1)) line += 1;
  return line;
}

function describeDiff(text: string, places: readonly number[], wanted: string, given: string): string {
  const change = diffLines(wanted, given);
  const shown = places.slice(0, placesMax).map((at) => `@ line ${lineAt(text, at)}`);
  if (places.length > placesMax) shown.push(`and ${places.length - placesMax} more places`);
  return `${shown.join(', ')}\n${change}`;
}

function someLines(lines: readonly string[]): string[] {
  if (lines.length <= placeLinesMax) return [...lines];
  const half = placeLinesMax / 2;
  return [...lines.slice(0, half), `[${lines.length - placeLinesMax} lines]`, ...lines.slice(-half)];
}

function notFound(text: string, wanted: string): string {
  const head = 'old_string is not in the file as it is written.';
  const lines = text.split('\n', likenessLinesMax);
  const wantedLines = wanted.replace(/\n$/, '').split('\n');
  if (wantedLines.length > 1 && wantedLines.every((line) => /^\s*\d+\t/.test(line))) {
    return `${head} Leave out the line numbers that read_file shows.`;
  }
  const spaced = findSpaced(lines, wantedLines);
  if (spaced !== undefined) {
    const found = someLines(lines.slice(spaced, spaced + wantedLines.length)).join('\n');
    return `${head} At line ${spaced + 1} it stands with other white space:\n${clip(found)}`;
  }
  const like = findLike(lines, wantedLines);
  if (like === undefined) return `${head} Nothing in the file is like it; read the file again.`;
  return `${head} The closest to its first line is line ${like + 1}:\n${clip(someLines(lines.slice(like, like + wantedLines.length)).join('\n'))}`;
}

/** Where the lines stand if white space is not looked at. */
function findSpaced(lines: readonly string[], wanted: readonly string[]): number | undefined {
  const bare = (line: string): string => line.replaceAll(/\s+/g, '');
  const plainLines = lines.map(bare);
  const plainWanted = wanted.map(bare);
  if (plainWanted.every((line) => line === '')) return undefined;
  const at = plainLines.findIndex((_, index) => plainWanted.every((line, step) => plainLines[index + step] === line));
  return at === -1 ? undefined : at;
}

function findLike(lines: readonly string[], wanted: readonly string[]): number | undefined {
  const first = wanted.find((line) => line.trim().length > 3)?.trim();
  if (first === undefined) return undefined;
  const pairs = pairsOf(first);
  let best: number | undefined;
  let bestLikeness = likenessMin;
  for (const [index, line] of lines.entries()) {
    const likeness = likenessOf(pairs, pairsOf(line.trim()));
    if (likeness <= bestLikeness) continue;
    best = index;
    bestLikeness = likeness;
  }
  return best;
}

/** Neighbouring characters of the beginning of a line. */
function pairsOf(line: string): Set<string> {
  const pairs = new Set<string>();
  const length = Math.min(line.length, shownCharsMax);
  for (let at = 0; at + 1 < length; at += 1) pairs.add(line.slice(at, at + 2));
  return pairs;
}

function likenessOf(one: ReadonlySet<string>, other: ReadonlySet<string>): number {
  if (one.size + other.size === 0) return 0;
  let shared = 0;
  for (const pair of one) if (other.has(pair)) shared += 1;
  return (2 * shared) / (one.size + other.size);
}

function clip(text: string): string {
  return text.length <= 4 * shownCharsMax ? text : `${text.slice(0, 4 * shownCharsMax).toWellFormed()}…`;
}
