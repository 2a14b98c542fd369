import { stripVTControlCharacters } from 'node:util';

/** Characters of a tool's text that a model reads at most; about 8,000 tokens. */
export const outputCharactersMax = 30_000;

/**
 * Terminal output as plain text: escape sequences out, carriage returns (progress bars) as lines, other control
 * characters dropped. What is left can neither move a cursor nor hide text from a reader.
 */
export function plainOutput(text: string): string {
  return stripVTControlCharacters(text)
    .replaceAll(/\r+\n?/g, '\n')
    .replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '');
}

/** Cuts the middle out of a text above the limit and says how much; beginnings name things, endings hold errors. */
export function truncateMiddle(text: string, charactersMax = outputCharactersMax): string {
  if (text.length <= charactersMax) return text;
  const half = Math.floor(charactersMax / 2);
  const head = text.slice(0, half).toWellFormed();
  const tail = text.slice(-half).toWellFormed();
  return `${head}\n\n[... ${text.length - 2 * half} characters left out here ...]\n\n${tail}`;
}
