import { stripSequences } from '#core/kit/strip-sequences.ts';

/** Characters of a tool's text that a model reads at most; about 8,000 tokens. */
export const outputCharactersMax = 30_000;

/**
 * Terminal output as plain text: escape sequences out, carriage returns (progress bars) as lines, other control
 * characters dropped. What is left can neither move a cursor nor hide text from a reader.
 */
export function plainOutput(text: string): string {
  return stripSequences(text)
    .replaceAll(/\r+\n?/g, '\n')
    .replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '');
}

/** Most characters of a text that stand in the summary of a call. */
const summaryCharsMax = 4_000;

/** A text for people who approve: nothing in it moves a cursor, and what is left out is said. */
export function clipped(text: string): string {
  const plain = plainOutput(text);
  if (plain.length <= summaryCharsMax) return plain;
  const half = summaryCharsMax / 2;
  const left = plain.length - summaryCharsMax;
  return `${plain.slice(0, half).toWellFormed()}\n… ${left} characters not shown here …\n${plain.slice(-half).toWellFormed()}`;
}

/** What moves a cursor, breaks a line, turns the direction of reading, or is not seen at all. */
const unseen = /[\p{Cc}\p{Zl}\p{Zp}\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu;

/** A file's name on one line: one with a character that nobody sees is shown as JSON, such characters escaped. */
export function shownName(name: string): string {
  if (name.search(unseen) === -1) return name;
  // JSON itself leaves most of them as they are.
  return JSON.stringify(name).replaceAll(unseen, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Cuts the middle out of a text above the limit and says how much; beginnings name things, endings hold errors. */
export function truncateMiddle(text: string, charactersMax = outputCharactersMax): string {
  if (text.length <= charactersMax) return text;
  const half = Math.floor(charactersMax / 2);
  const head = text.slice(0, half).toWellFormed();
  const tail = text.slice(-half).toWellFormed();
  return `${head}\n\n[... ${text.length - 2 * half} characters left out here ...]\n\n${tail}`;
}
