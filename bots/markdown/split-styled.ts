import { joinStyled, type StyledBlock, type StyledText, sliceStyled, trimStyled } from './styled-text.ts';

/**
 * Packs blocks into messages of at most `textMax` UTF-16 units each. Cuts between blocks first, then between lines, then
 * words, and never inside a grapheme, a link or inline code. Code stays code in every part, tables repeat their header.
 */
export function splitStyled(blocks: readonly StyledBlock[], textMax: number): StyledText[] {
  const messages: StyledText[] = [];
  let open: StyledText[] = [];
  let openLength = 0;
  const flush = (): void => {
    const message = trimStyled(joinStyled(open, separator));
    if (message.text !== '') messages.push(message);
    open = [];
    openLength = 0;
  };
  for (const block of blocks) {
    for (const piece of cutBlock(block, textMax)) {
      const needed = piece.text.length + (open.length === 0 ? 0 : separator.length);
      if (openLength + needed > textMax) flush();
      openLength += piece.text.length + (open.length === 0 ? 0 : separator.length);
      open.push(piece);
    }
  }
  flush();
  return messages;
}

const separator = '\n\n';
/** A link or inline code longer than this is cut after all: keeping it whole would waste most of a message. */
const unbreakableMax = 400;

function cutBlock(block: StyledBlock, textMax: number): StyledText[] {
  if (block.text.length <= textMax) return [block];
  const pieces: StyledText[] = [];
  const head =
    block.headLength > 0 && block.headLength < textMax / 2 ? sliceStyled(block, 0, block.headLength) : undefined;
  let start = 0;
  while (start < block.text.length) {
    const prefix = start > 0 && head !== undefined ? head : undefined;
    const room = textMax - (prefix?.text.length ?? 0);
    const end = block.text.length - start <= room ? block.text.length : findCut(block, start, start + room);
    const piece = sliceStyled(block, start, end);
    const whole = prefix === undefined ? piece : mergePre(prefix, piece);
    const trimmed = block.kind === 'text' ? trimStyled(whole) : trimEnd(whole);
    if (trimmed.text !== '') pieces.push(trimmed);
    start = end;
    // The line end at the cut has done its work; leading spaces of the next line of code have not.
    if (block.text[start] === '\n') start += 1;
  }
  return pieces;
}

/** The best place to cut in (start, limit]: after a line, a sentence or a word, else between two graphemes. */
function findCut(block: StyledBlock, start: number, limit: number): number {
  const { text } = block;
  const earliest = start + Math.floor((limit - start) / 2);
  const newline = text.lastIndexOf('\n', limit);
  if (newline >= earliest || (block.kind !== 'text' && newline > start)) return newline;
  if (block.kind === 'text') {
    const sentence = lastMatch(text, /[.!?…。！？]["')\]]*\s/g, earliest, limit);
    if (sentence !== undefined) return outsideSpans(block, sentence, earliest);
    const space = text.lastIndexOf(' ', limit);
    if (space >= earliest) return outsideSpans(block, space, earliest);
  }
  return graphemeStart(text, outsideSpans(block, limit, earliest), start);
}

function lastMatch(text: string, pattern: RegExp, from: number, to: number): number | undefined {
  let found: number | undefined;
  for (const match of text.slice(from, to).matchAll(pattern)) found = from + match.index + match[0].length - 1;
  return found;
}

function outsideSpans(block: StyledBlock, cut: number, earliest: number): number {
  for (const { style, offset, length } of block.spans) {
    const isInside = cut > offset && cut < offset + length;
    if ((style === 'link' || style === 'code') && isInside && length <= unbreakableMax && offset >= earliest)
      return offset;
  }
  return cut;
}

const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/** The cut moved to the start of the grapheme it falls into; graphemes of absurd length are cut between code points. */
function graphemeStart(text: string, cut: number, start: number): number {
  const windowStart = Math.max(start, cut - 256);
  const segment = segmenter.segment(text.slice(windowStart, cut + 64)).containing(cut - windowStart);
  const boundary = segment === undefined ? cut : windowStart + segment.index;
  if (boundary > windowStart) return boundary;
  const unit = text.charCodeAt(cut);
  const isLowSurrogate = unit >= 0xdc00 && unit <= 0xdfff;
  return isLowSurrogate && cut - 1 > start ? cut - 1 : cut;
}

function mergePre(head: StyledText, piece: StyledText): StyledText {
  const text = head.text + piece.text;
  return { text, spans: [{ style: 'pre', offset: 0, length: text.length }] };
}

function trimEnd(source: StyledText): StyledText {
  return sliceStyled(source, 0, source.text.trimEnd().length);
}
