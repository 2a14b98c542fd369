import type { InboundFile } from '#core/inbox/inbound.ts';
import type { TelegramEntity, TelegramMessage } from './update-schema.ts';

/** The bot as an update names it. */
export interface BotName {
  readonly id: number;
  readonly username: string;
}

export interface MessageContent {
  readonly text: string;
  readonly entities: readonly TelegramEntity[];
}

/** What was written: the text, or the caption of a file. */
export function contentOf(message: TelegramMessage): MessageContent {
  return message.text === undefined
    ? { text: message.caption ?? '', entities: message.caption_entities ?? [] }
    : { text: message.text, entities: message.entities ?? [] };
}

/** The file of a message. Of a photo only the largest size; each needs its own message on Telegram. */
export function filesOf(message: TelegramMessage): InboundFile[] {
  const named = [
    // An animation is repeated as a document.
    { file: message.animation === undefined ? message.document : undefined, name: 'document', mime: undefined },
    { file: message.animation, name: 'animation.mp4', mime: 'video/mp4' },
    { file: message.audio, name: 'audio.mp3', mime: 'audio/mpeg' },
    { file: message.video, name: 'video.mp4', mime: 'video/mp4' },
    { file: message.video_note, name: 'video.mp4', mime: 'video/mp4' },
    { file: message.voice, name: 'voice.ogg', mime: 'audio/ogg' },
    { file: largestOf(message.photo), name: 'photo.jpg', mime: 'image/jpeg' },
  ];
  return named.flatMap(({ file, name, mime: usualMime }) => {
    if (file === undefined) return [];
    const mime = file.mime_type ?? usualMime;
    return [
      {
        name: safeName(file.file_name, name),
        fetchKey: file.file_id,
        ...(mime === undefined ? {} : { mime }),
        ...(file.file_size === undefined ? {} : { bytes: file.file_size }),
      },
    ];
  });
}

/** Longest name kept, in UTF-16 units; file systems allow 255 bytes. */
const nameMax = 80;

/** A name that is only a name: no folders, nothing invisible or written backwards, the ending kept. */
function safeName(given: string | undefined, fallback: string): string {
  const base = (given ?? '').toWellFormed().split(/[/\\]/).at(-1) ?? '';
  const plain = base
    .replace(/[\p{Cc}\p{Cf}<>:"|?*]/gu, '')
    .replace(/^[\s.]+|[\s.]+$/g, '')
    .trim();
  if (plain === '') return fallback;
  if (plain.length <= nameMax) return plain;
  const ending = /\.\w{1,10}$/.exec(plain)?.[0] ?? '';
  return `${plain.slice(0, nameMax - ending.length).toWellFormed()}${ending}`;
}

function largestOf(sizes: TelegramMessage['photo']) {
  return sizes?.reduce((largest, size) => ((size.file_size ?? 0) >= (largest.file_size ?? 0) ? size : largest));
}

/** Where what follows our own name begins, when the text starts with it; 0 otherwise. */
export function afterLeadingMention({ text, entities }: MessageContent, bot: BotName): number {
  const start = text.length - text.trimStart().length;
  const mention = entities.find((entity) => entity.offset === start && isOwnMention(text, entity, bot));
  if (mention === undefined) return 0;
  const end = mention.offset + mention.length;
  return end + (/^\s*[,:]?\s*/.exec(text.slice(end))?.[0].length ?? 0);
}

/**
 * The command the text starts with, after our name if that comes first; `other` when it names another bot.
 *
 * @param start where the command may stand, from `afterLeadingMention`.
 */
export function readCommand(
  { text, entities }: MessageContent,
  start: number,
  bot: BotName,
): { readonly name: string; readonly args: string } | 'other' | undefined {
  const entity = entities.find((candidate) => candidate.type === 'bot_command' && candidate.offset === start);
  if (entity === undefined) return undefined;
  const end = entity.offset + entity.length;
  const [name = '', target] = text.slice(entity.offset + 1, end).split('@');
  if (target !== undefined && target.toLowerCase() !== bot.username.toLowerCase()) return 'other';
  return { name: name.toLowerCase(), args: text.slice(end).trim() };
}

/** How a message addresses us. Every message of a topic is an implicit reply to its creation, which is not meant. */
export function addressedBy(
  message: TelegramMessage,
  { text, entities }: MessageContent,
  bot: BotName,
): 'dm' | 'mention' | 'reply' | 'none' {
  if (message.chat.type === 'private') return 'dm';
  if (entities.some((entity) => isOwnMention(text, entity, bot))) return 'mention';
  const replied = message.reply_to_message;
  return replied?.from?.id === bot.id && replied.forum_topic_created === undefined ? 'reply' : 'none';
}

/** The message a person answers by a real reply. */
export function replyToOf(message: TelegramMessage): string | undefined {
  const replied = message.reply_to_message;
  if (replied?.message_id === undefined || replied.forum_topic_created !== undefined) return undefined;
  return String(replied.message_id);
}

function isOwnMention(text: string, entity: TelegramEntity, bot: BotName): boolean {
  if (entity.type === 'text_mention') return entity.user?.id === bot.id;
  const name = text.slice(entity.offset, entity.offset + entity.length);
  return entity.type === 'mention' && name.toLowerCase() === `@${bot.username.toLowerCase()}`;
}
