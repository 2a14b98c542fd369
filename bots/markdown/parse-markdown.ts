import { Lexer, type Token } from 'marked';

/** A parsed source. `isClipped` says that the source was longer than we parse and only its head is in `tokens`. */
export interface ParsedMarkdown {
  readonly tokens: readonly Token[];
  readonly isClipped: boolean;
}

/**
 * No chat shows more than a few ten thousand characters of one answer; the rest travels as a file. Parsing is linear up
 * to here for every hostile input we measured (at most about 60 ms).
 */
const sourceCharsMax = 40_000;
/** Deeper nesting of quotes and lists is flattened: the parser recurses per level and would exhaust the stack. */
const nestingMax = 12;
/** Emphasis matching is quadratic in the number of markers of one paragraph; beyond this it is shown as plain text. */
const markersMax = 1_000;

const nesting = /^[ \t]*(?:(?:>|[-+*](?=[ \t])|\d{1,9}[.)](?=[ \t]))[ \t]*){13,}/gm;
const nestingMarker = /[ \t]*(?:>|[-+*](?=[ \t])|\d{1,9}[.)](?=[ \t]))/g;
const controlCharacters = /[\u0000-\u0008\u000b-\u001f\u007f\ufeff]/g;
// Direction overrides can make a command read differently from what it does; an approver must see them.
const directionOverrides = /[\u202a-\u202e\u2066-\u2069]/g;

/** Lone surrogates, control characters and direction overrides replaced by what can be shown; line ends unified. */
export function cleanText(source: string): string {
  return source
    .toWellFormed()
    .replace(/\r\n?/g, '\n')
    .replace(controlCharacters, '')
    .replace(directionOverrides, '\ufffd');
}

/**
 * Parses GitHub-flavoured Markdown into marked's tokens. Never throws, and takes bounded time for any input: too deep,
 * too long or too tangled parts come out as plain text.
 */
export function parseMarkdown(source: string): ParsedMarkdown {
  const isClipped = source.length > sourceCharsMax;
  const text = cleanText(isClipped ? clipAtLine(source) : source).replace(nesting, flatten);
  try {
    return { tokens: lex(text), isClipped };
  } catch {
    // The guards above cover what we know of; what they miss is still shown, without styles.
    return { tokens: [{ type: 'text', raw: text, text }], isClipped };
  }
}

function lex(text: string): Token[] {
  const lexer = new Lexer({ gfm: true });
  const tokens = lexer.blockTokens(text, lexer.tokens);
  for (const { src, tokens: target } of lexer.inlineQueue) {
    if (countMarkers(src) > markersMax) target.push({ type: 'text', raw: src, text: src });
    else lexer.inlineTokens(src, target);
  }
  return tokens;
}

function clipAtLine(source: string): string {
  const end = source.lastIndexOf('\n', sourceCharsMax);
  return source.slice(0, end > sourceCharsMax / 2 ? end : sourceCharsMax);
}

function flatten(prefix: string): string {
  return (prefix.match(nestingMarker) ?? []).slice(0, nestingMax).join('');
}

function countMarkers(text: string): number {
  let count = 0;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    if (unit === 42 || unit === 95 || unit === 126 || unit === 91 || unit === 60) count += 1;
  }
  return count;
}
