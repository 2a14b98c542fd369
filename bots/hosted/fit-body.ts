import { AppError } from '#core/kit/errors.ts';
import type { OutboundBody, OutboundPart } from '#core/outbox/outbound.ts';

/** Longest button token in bytes, as on the tightest of the other channels. */
export const tokenBytesMax = 64;
const headMax = 4_000;

/**
 * Makes a body fit one message: text over `textMax` (UTF-16 units) becomes its beginning and a file with the whole.
 * @throws AppError `channel.rejected` for a button token that is too long.
 */
export function fitBody(body: OutboundBody, textMax: number): OutboundBody {
  for (const part of body.parts) {
    if (part.type !== 'buttons') continue;
    for (const { token } of part.rows.flat()) {
      if (token !== undefined && Buffer.byteLength(token) > tokenBytesMax) {
        throw new AppError('channel.rejected', `A button token is longer than ${tokenBytesMax} bytes.`);
      }
    }
  }
  if (body.parts.reduce((sum, part) => sum + textLength(part), 0) <= textMax) return body;
  return { ...body, parts: body.parts.flatMap((part) => (textLength(part) > headMax ? headAndFile(part) : [part])) };
}

function textLength(part: OutboundPart): number {
  return textOf(part)?.length ?? 0;
}

function textOf(part: OutboundPart): string | undefined {
  if (part.type === 'markdown' || part.type === 'notice') return part.markdown;
  return part.type === 'code' ? part.text : undefined;
}

function headAndFile(part: OutboundPart): OutboundPart[] {
  const text = textOf(part) ?? '';
  const isCode = part.type === 'code';
  const cut = text.lastIndexOf('\n', headMax);
  const head = text.slice(0, cut > 0 ? cut : headMax).toWellFormed();
  // An odd number of fences means that the cut went through a code block: close it.
  const isFenceOpen = !isCode && (head.match(/^ {0,3}```/gm)?.length ?? 0) % 2 === 1;
  const shown: OutboundPart = isCode
    ? { ...part, text: head }
    : { type: 'markdown', markdown: isFenceOpen ? `${head}\n\`\`\`` : head };
  return [
    shown,
    { type: 'notice', level: 'info', markdown: 'The text is long: the whole of it is in the file.' },
    {
      type: 'file',
      name: isCode ? 'output.txt' : 'answer.md',
      mime: isCode ? 'text/plain' : 'text/markdown',
      dataBase64: Buffer.from(text).toString('base64'),
    },
  ];
}
