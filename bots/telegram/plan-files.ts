import { AppError } from '#core/kit/errors.ts';
import type { OutboundPart } from '#core/outbox/outbound.ts';
import type { StyledUnit } from './render-text.ts';

/** Upload limit of the public Bot API server. */
export const uploadBytesMax = 50 * 1024 * 1024;
/** Larger pictures, and kinds the platform would convert, go as documents. */
const photoBytesMax = 10 * 1024 * 1024;
const photoMimes: ReadonlySet<string> = new Set(['image/jpeg', 'image/png', 'image/webp']);
/** Pictures of one album. */
const albumMax = 10;

/** One file of a message. */
export interface FileUnit {
  readonly name: string;
  readonly bytes: Buffer;
  readonly kind: 'photo' | 'document';
  /** Shown below it; the platform takes 1024 units. */
  readonly caption?: StyledUnit;
}

/** @throws AppError `message.too_large` for a file over the platform's limit. */
export function toFileUnit(part: Extract<OutboundPart, { type: 'file' }>): FileUnit {
  const bytes = Buffer.from(part.dataBase64, 'base64');
  if (bytes.length > uploadBytesMax) {
    throw new AppError('message.too_large', `The file ${part.name} has ${bytes.length} bytes.`, {
      mend: `Telegram takes files of up to ${uploadBytesMax} bytes.`,
    });
  }
  const name = part.name
    .toWellFormed()
    .replace(/[\u0000-\u001f\u007f";\\/]/g, '_')
    .slice(-120);
  const mime = part.mime.split(';')[0]?.trim().toLowerCase() ?? '';
  return {
    name: name === '' ? 'file' : name,
    // The platform refuses an empty file, but the person should still see that there is one.
    bytes: bytes.length === 0 ? Buffer.from('\n') : bytes,
    kind: photoMimes.has(mime) && bytes.length > 0 && bytes.length <= photoBytesMax ? 'photo' : 'document',
  };
}

/** Files in the groups in which they are posted: pictures that follow each other as albums, the rest one by one. */
export function groupFiles(files: readonly FileUnit[]): readonly (readonly FileUnit[])[] {
  const groups: FileUnit[][] = [];
  for (const file of files) {
    const last = groups.at(-1);
    const fits = file.kind === 'photo' && last?.[0]?.kind === 'photo' && last.length < albumMax;
    if (fits) last.push(file);
    else groups.push([file]);
  }
  return groups;
}
