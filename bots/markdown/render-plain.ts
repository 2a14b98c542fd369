import { renderStyled } from './render-styled.ts';
import type { StyledText } from './styled-text.ts';

/** Markdown as text without any markup; links keep their address in brackets. */
export function renderPlain(markdown: string): string {
  return renderStyled(markdown)
    .blocks.map((block) => withAddresses(block))
    .join('\n\n');
}

function withAddresses({ text, spans }: StyledText): string {
  const links = spans.filter((span) => span.style === 'link').sort((a, b) => b.offset - a.offset);
  return links.reduce((written, { offset, length, url }) => {
    const end = offset + length;
    return `${written.slice(0, end)} (${url ?? ''})${written.slice(end)}`;
  }, text);
}
