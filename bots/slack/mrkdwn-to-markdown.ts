/**
 * Slack's message text as Markdown for an agent: links, names and escapes are written out, code and emphasis stay as
 * they are. Mentions of people keep their id, which is what an answer needs to name them.
 */
export function mrkdwnToMarkdown(text: string): string {
  return text
    .replace(/<([^<>\n]{1,3000})>/g, (whole, inner: string) => readReference(inner) ?? whole)
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&');
}

function readReference(inner: string): string | undefined {
  const bar = inner.indexOf('|');
  const target = bar === -1 ? inner : inner.slice(0, bar);
  const label = bar === -1 ? '' : inner.slice(bar + 1);
  if (target.startsWith('#')) return `#${label === '' ? target.slice(1) : label}`;
  if (target.startsWith('@')) return `<${target}>`;
  if (target.startsWith('!')) {
    if (/^!(?:here|channel|everyone)/.test(target)) return `@${/^!(\w+)/.exec(target)?.[1] ?? ''}`;
    if (target.startsWith('!subteam')) return label === '' ? '@group' : label;
    return label;
  }
  if (!/^(?:https?:\/\/|mailto:|tel:)/i.test(target)) return undefined;
  const address = target.replaceAll('&amp;', '&');
  const shown = label.replaceAll('&amp;', '&');
  if (shown === '' || shown === address || `mailto:${shown}` === address || `tel:${shown}` === address) {
    return address.replace(/^(?:mailto|tel):/, '');
  }
  // What looks like the same address without its scheme says nothing of its own.
  if (address.replace(/^https?:\/\//, '').replace(/\/$/, '') === shown.replace(/\/$/, '')) return address;
  return `[${shown}](${address})`;
}
