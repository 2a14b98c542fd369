import type { OutboundPart } from '#core/outbox/outbound.ts';
import type { VisibleMessage } from './channel-contract.ts';

/** A stored message the way a person sees it. */
export function seeParts(id: string, parts: readonly OutboundPart[]): VisibleMessage {
  const texts = parts.flatMap((part) => (part.type === 'markdown' || part.type === 'notice' ? [part.markdown] : []));
  const file = parts.find((part) => part.type === 'file');
  return {
    id,
    text: texts.join('\n'),
    code: texts.flatMap((text) => [...text.matchAll(/^```\w*\n([\s\S]*?)\n```$/gm)].map((match) => match[1] ?? '')),
    buttons: parts
      .flatMap((part) => (part.type === 'buttons' ? part.rows.flat() : []))
      .map(({ label, token }) => ({
        label,
        ...(token === undefined ? {} : { token }),
      })),
    ...(file === undefined
      ? {}
      : { file: { name: file.name, text: Buffer.from(file.dataBase64, 'base64').toString() } }),
  };
}
