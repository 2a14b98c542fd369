/** A message of ours, with what has to be known to change it later. */
export interface SentId {
  readonly id: string;
  readonly isFile: boolean;
  /** Only one person sees it. */
  readonly isEphemeral: boolean;
  /** Where it stands, when that is not the conversation it is for. */
  readonly channelId: string | undefined;
}

/** Plain ids stay plain, so that a reply to the message is recognised; the rest is written in front. */
export function writeId({ id, isFile, isEphemeral, channelId }: SentId): string {
  return `${isFile ? 'file:' : ''}${isEphemeral ? 'only:' : ''}${channelId === undefined ? '' : `in:${channelId}:`}${id}`;
}

export function parseId(written: string): SentId {
  const [, file, only, , channelId, id] = /^(file:)?(only:)?(in:(\d+):)?(.*)$/s.exec(written) ?? [];
  return { id: id ?? written, isFile: file !== undefined, isEphemeral: only !== undefined, channelId };
}
