import type { TelegramEntity } from './update-schema.ts';

/**
 * Writes code and links of an incoming message back as Markdown: a client sends them as entities over bare text, and an
 * agent that sees only the text could not tell code from prose. Other styles carry no meaning and are left out.
 */
export function entitiesToMarkdown(text: string, entities: readonly TelegramEntity[]): string {
  const marked = entities
    .filter(
      ({ type, offset, length }) =>
        offset + length <= text.length && (type === 'pre' || type === 'code' || type === 'text_link'),
    )
    .sort((a, b) => a.offset - b.offset);
  let written = '';
  let at = 0;
  for (const entity of marked) {
    // Nested ones were written with the outer one.
    if (entity.offset < at) continue;
    const inner = text.slice(entity.offset, entity.offset + entity.length);
    written += text.slice(at, entity.offset) + markUp(inner, entity);
    at = entity.offset + entity.length;
  }
  return written + text.slice(at);
}

function markUp(inner: string, entity: TelegramEntity): string {
  if (entity.type === 'text_link') return `[${inner}](${entity.url ?? ''})`;
  const longest = Math.max(0, ...(inner.match(/`+/g) ?? []).map((run) => run.length));
  if (entity.type === 'code') {
    const fence = '`'.repeat(longest + 1);
    return inner.startsWith('`') || inner.endsWith('`') ? `${fence} ${inner} ${fence}` : fence + inner + fence;
  }
  const fence = '`'.repeat(Math.max(3, longest + 1));
  return `${fence}${entity.language ?? ''}\n${inner}\n${fence}`;
}
