import { renderStyled } from '#bots/markdown/render-styled.ts';
import { splitStyled } from '#bots/markdown/split-styled.ts';
import { joinStyled, type Span, type StyledText } from '#bots/markdown/styled-text.ts';

const marks: Readonly<Partial<Record<Span['style'], string>>> = {
  bold: '*',
  italic: '_',
  strikethrough: '~',
  code: '`',
};

/**
 * Markdown in Slack's older dialect, for the places that take no Markdown: fields, alerts, context lines. Nothing in it
 * can be read as a mention or a link that the source did not spell as a link.
 *
 * @param max longest result in UTF-16 units; more is cut, and said.
 */
export function renderMrkdwn(markdown: string, max: number): string {
  const text = joinStyled(renderStyled(markdown).blocks, '\n\n');
  const whole = writeMrkdwn(text);
  if (whole.length <= max) return whole;
  // Escapes make a text longer by an unknown amount; the plain text is cut without any.
  return `${escapeMrkdwn(text.text.slice(0, Math.floor(max / 5) - 1).toWellFormed())}…`;
}

/** Characters that could begin a mention or an entity. */
export function escapeMrkdwn(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function writeMrkdwn({ text, spans }: StyledText): string {
  const opens = new Map<number, string[]>();
  const closes = new Map<number, string[]>();
  const put = (map: Map<number, string[]>, at: number, mark: string, isFirst: boolean): void => {
    const list = map.get(at) ?? [];
    if (isFirst) list.unshift(mark);
    else list.push(mark);
    map.set(at, list);
  };
  for (const span of spans) {
    const [before, after] = marksOf(span);
    put(opens, span.offset, before, false);
    // Inner spans come later in the list and have to end first.
    put(closes, span.offset + span.length, after, true);
  }
  const cuts = [...new Set([0, ...opens.keys(), ...closes.keys(), text.length])].sort((a, b) => a - b);
  let written = '';
  for (const [index, at] of cuts.entries()) {
    written += (closes.get(at) ?? []).join('') + (opens.get(at) ?? []).join('');
    written += escapeMrkdwn(text.slice(at, cuts[index + 1] ?? at));
  }
  return written;
}

function marksOf(span: Span): readonly [string, string] {
  switch (span.style) {
    case 'link':
      return [`<${escapeMrkdwn(span.url ?? '').replaceAll('|', '%7C')}|`, '>'];
    case 'pre':
      return ['```\n', '\n```'];
    case 'blockquote':
      return ['&gt; ', ''];
    default: {
      const mark = marks[span.style] ?? '';
      return [mark, mark];
    }
  }
}

/** Markdown as texts for sections, each within Slack's limit of 3,000 once escaped. */
export function renderSections(markdown: string): string[] {
  return splitStyled(renderStyled(markdown).blocks, plainSectionMax).flatMap((text) => {
    const written = writeMrkdwn(text);
    if (written.length <= sectionMax) return [written];
    // Only text full of `<` and `&` grows so much; half of it always fits.
    return splitStyled([{ ...text, kind: 'text', headLength: 0 }], 500).map((part) => writeMrkdwn(part));
  });
}

const sectionMax = 3_000;
/** Leaves room for marks and escapes of ordinary text. */
const plainSectionMax = 2_400;
