/** Text with styles laid over it by position. Nothing in it can fail to parse, unlike a markup dialect. */
export interface StyledText {
  readonly text: string;
  readonly spans: readonly Span[];
}

/** One style over `length` UTF-16 units from `offset`. */
export interface Span {
  readonly style: Style;
  readonly offset: number;
  readonly length: number;
  /** For `link`: an http or https address. */
  readonly url?: string;
  /** For `pre`: the info word of the fence. */
  readonly language?: string;
}

export type Style = 'bold' | 'italic' | 'strikethrough' | 'code' | 'pre' | 'link' | 'blockquote';

/** One block of an answer. The splitter cuts between blocks first. */
export interface StyledBlock extends StyledText {
  readonly kind: 'text' | 'code' | 'table';
  /** Leading UTF-16 units repeated when a table continues in another message: its header rows. */
  readonly headLength: number;
}

/** The part of a styled text from `start` to `end`, with every span that reaches into it cut to size. */
export function sliceStyled(source: StyledText, start: number, end: number): StyledText {
  const spans: Span[] = [];
  for (const span of source.spans) {
    const from = Math.max(span.offset, start);
    const to = Math.min(span.offset + span.length, end);
    if (to > from) spans.push({ ...span, offset: from - start, length: to - from });
  }
  return { text: source.text.slice(start, end), spans };
}

/** Puts styled texts one after the other with a separator between them. */
export function joinStyled(parts: readonly StyledText[], separator: string): StyledText {
  const texts: string[] = [];
  const spans: Span[] = [];
  let offset = 0;
  for (const part of parts) {
    for (const span of part.spans) spans.push({ ...span, offset: span.offset + offset });
    texts.push(part.text);
    offset += part.text.length + separator.length;
  }
  return { text: texts.join(separator), spans };
}

/** Removes white space around the text and moves the spans along; the indent of code at the start stays. */
export function trimStyled(source: StyledText): StyledText {
  const code = source.spans.filter((span) => span.style === 'pre').map((span) => span.offset);
  const start = Math.min(source.text.length - source.text.trimStart().length, ...code);
  const end = source.text.trimEnd().length;
  return start === 0 && end === source.text.length ? source : sliceStyled(source, start, Math.max(start, end));
}

/** Collects text and styles while a tree is walked; lines inside lists are indented as they are written. */
export class StyledBuilder {
  readonly #pieces: string[] = [];
  readonly #spans: Span[] = [];
  readonly #open = new Set<Style>();
  #length = 0;
  #indent = '';
  #last = '';

  get length(): number {
    return this.#length;
  }

  /** Appends text; every line after the first starts with the current indent. */
  push(text: string): void {
    this.pushRaw(this.#indent === '' ? text : text.replaceAll('\n', `\n${this.#indent}`));
  }

  /** Appends text as it is, for code, whose columns must not move. */
  pushRaw(text: string): void {
    if (text === '') return;
    this.#pieces.push(text);
    this.#length += text.length;
    this.#last = text;
  }

  /** Starts a new line unless the text already stands at the start of one. */
  newLine(): void {
    if (this.#length > 0 && !this.#last.endsWith('\n') && !/\n *$/.test(this.#last)) this.push('\n');
  }

  /** Whatever `write` appends gets the style. */
  style(style: Style, write: () => void, extra: { readonly url?: string; readonly language?: string } = {}): void {
    // Platforms refuse a style inside itself, quotes included: the inner one joins the outer.
    if (this.#open.has(style)) {
      write();
      return;
    }
    this.#open.add(style);
    const offset = this.#length;
    // The place in the list is taken before the inner spans: outer spans come first, as readers of nesting expect.
    const place = this.#spans.length;
    write();
    this.#open.delete(style);
    if (this.#length > offset) {
      this.#spans.splice(place, 0, { style, offset, length: this.#length - offset, ...extra });
    }
  }

  /** Lines that `write` starts are indented by `prefix` more than the current ones. */
  indented(prefix: string, write: () => void): void {
    const before = this.#indent;
    this.#indent = before + prefix;
    write();
    this.#indent = before;
  }

  /** The result, trimmed; code holds no other style, which is what chat platforms demand. */
  build(): StyledText {
    return trimStyled({ text: this.#pieces.join(''), spans: withoutStylesInCode(this.#spans) });
  }
}

function withoutStylesInCode(spans: readonly Span[]): readonly Span[] {
  const code = spans.filter((span) => span.style === 'code' || span.style === 'pre');
  if (code.length === 0) return spans;
  return spans.flatMap((span) => {
    if (span.style === 'code' || span.style === 'pre' || span.style === 'link' || span.style === 'blockquote')
      return [span];
    const rest: Span[] = [];
    let from = span.offset;
    const end = span.offset + span.length;
    for (const hole of code) {
      const holeEnd = hole.offset + hole.length;
      if (holeEnd <= from || hole.offset >= end) continue;
      if (hole.offset > from) rest.push({ ...span, offset: from, length: hole.offset - from });
      from = Math.max(from, holeEnd);
    }
    if (from < end) rest.push({ ...span, offset: from, length: end - from });
    return rest;
  });
}
