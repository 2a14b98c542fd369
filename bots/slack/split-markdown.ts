import type { Token, Tokens } from 'marked';
import { parseMarkdown } from '#bots/markdown/parse-markdown.ts';

/** A Markdown source in pieces. `isClipped` says that it was longer than what is ever shown. */
export interface SplitMarkdown {
  readonly pieces: readonly string[];
  readonly isClipped: boolean;
}

/**
 * Cuts Markdown into pieces of at most `max` UTF-16 units, each whole by itself: between blocks first, then lines, then
 * words; code is closed and opened again with its language, tables repeat their header.
 */
export function splitMarkdown(source: string, max: number): SplitMarkdown {
  const { tokens, isClipped } = parseMarkdown(source);
  const pieces: string[] = [];
  let open = '';
  const flush = (): void => {
    const piece = trimBlock(open);
    if (piece !== '') pieces.push(piece);
    open = '';
  };
  for (const token of tokens) {
    for (const part of cutToken(token, max)) {
      if (open.length + part.length > max) flush();
      open += part;
    }
  }
  flush();
  return { pieces, isClipped };
}

/** Blank lines around a piece mean nothing; the indent of a first line may. */
function trimBlock(text: string): string {
  return text.replace(/^(?:[ \t]*\n)+/, '').trimEnd();
}

function cutToken(token: Token, max: number): string[] {
  if (token.raw.length <= max) return [token.raw];
  if (token.type === 'code') return cutCode(token as Tokens.Code, max);
  if (token.type === 'table') return cutTable(token as Tokens.Table, max);
  return cutText(token.raw, max);
}

function cutCode(code: Tokens.Code, max: number): string[] {
  const longest = Math.max(0, ...(code.text.match(/^ {0,3}`{3,}/gm) ?? []).map((run) => run.trim().length));
  const fence = '`'.repeat(Math.max(3, longest + 1));
  const head = `${fence}${(code.lang ?? '').slice(0, 40).replaceAll('`', '')}\n`;
  const room = max - head.length - fence.length - 4;
  return cutLines(code.text, room).map((lines) => `${head}${lines}\n${fence}\n\n`);
}

function cutTable(table: Tokens.Table, max: number): string[] {
  const [header = '', rule = '', ...rows] = table.raw.trimEnd().split('\n');
  const head = `${header}\n${rule}\n`;
  if (head.length > max / 2) return cutText(table.raw, max);
  return cutLines(rows.join('\n'), max - head.length - 2).map((lines) => `${head}${lines}\n\n`);
}

/** Whole lines as far as they fit; a line that is too long by itself is cut where it must be. */
function cutLines(text: string, room: number): string[] {
  const pieces: string[] = [];
  let open: string | undefined;
  for (const line of text.split('\n').flatMap((whole) => chop(whole, room))) {
    if (open === undefined) open = line;
    else if (open.length + 1 + line.length <= room) open += `\n${line}`;
    else {
      pieces.push(open);
      open = line;
    }
  }
  return open === undefined ? pieces : [...pieces, open];
}

function chop(line: string, room: number): string[] {
  if (line.length <= room) return [line];
  const pieces: string[] = [];
  for (let start = 0; start < line.length; ) {
    const end = line.length - start <= room ? line.length : graphemeStart(line, start + room, start);
    pieces.push(line.slice(start, end));
    start = end;
  }
  return pieces;
}

function cutText(text: string, max: number): string[] {
  const pieces: string[] = [];
  for (let start = 0; start < text.length; ) {
    if (text.length - start <= max) {
      pieces.push(text.slice(start));
      break;
    }
    const end = findCut(text, start, start + max);
    pieces.push(text.slice(start, end));
    start = end;
    // The white space at the cut has done its work; indents of lists have not.
    while (text[start] === ' ') start += 1;
  }
  return pieces;
}

/** The best place in (start, limit]: after a line, a sentence, a word, else between two graphemes. */
function findCut(text: string, start: number, limit: number): number {
  const earliest = start + Math.floor((limit - start) / 2);
  const newline = text.lastIndexOf('\n', limit - 1);
  if (newline >= earliest) return newline + 1;
  const sentences = [...text.slice(earliest, limit).matchAll(/[.!?…。！？]["')\]]*\s/g)];
  const sentence = sentences.at(-1);
  if (sentence !== undefined) return earliest + sentence.index + sentence[0].length;
  const space = text.lastIndexOf(' ', limit - 1);
  if (space >= earliest) return space + 1;
  return graphemeStart(text, limit, start);
}

const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/** The cut moved to the start of the grapheme it falls into; absurdly long ones are cut between code points. */
function graphemeStart(text: string, cut: number, start: number): number {
  const from = Math.max(start, cut - 256);
  const segment = segmenter.segment(text.slice(from, cut + 64)).containing(cut - from);
  const boundary = segment === undefined ? cut : from + segment.index;
  if (boundary > from) return boundary;
  const unit = text.charCodeAt(cut);
  return unit >= 0xdc00 && unit <= 0xdfff && cut - 1 > start ? cut - 1 : cut;
}
