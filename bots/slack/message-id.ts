/**
 * Platform ids of this channel. A plain message is its timestamp; what is edited in another way says so in front:
 * `stream:` is a message that is still growing, `file:` an uploaded file with a mark of its content, `only:` something
 * one person saw, which nobody can change afterwards.
 */
export type MessageId =
  | { readonly kind: 'post'; readonly ts: string }
  | { readonly kind: 'stream'; readonly ts: string }
  | { readonly kind: 'file'; readonly fileId: string; readonly mark: string }
  | { readonly kind: 'only' };

export const streamId = (ts: string): string => `stream:${ts}`;
export const fileIdOf = (fileId: string, mark: string): string => `file:${fileId}:${mark}`;
export const onlyId = (what: string): string => `only:${what}`;

export function readMessageId(id: string): MessageId {
  if (id.startsWith('stream:')) return { kind: 'stream', ts: id.slice('stream:'.length) };
  if (id.startsWith('only:')) return { kind: 'only' };
  const [prefix, fileId = '', mark = ''] = id.split(':');
  return prefix === 'file' ? { kind: 'file', fileId, mark } : { kind: 'post', ts: id };
}
