import { z } from 'zod';

/**
 * The parts of a Bot API update that we read. Everything else passes by unread, so that new fields never break us.
 * Written from the Bot API's own types; all objects are open.
 */
const userSchema = z.object({
  id: z.int(),
  is_bot: z.boolean().default(false),
  first_name: z.string().default(''),
  last_name: z.string().optional(),
  username: z.string().optional(),
});

const chatSchema = z.object({
  id: z.int(),
  type: z.enum(['private', 'group', 'supergroup', 'channel']),
  title: z.string().optional(),
});

const entitySchema = z.object({
  type: z.string(),
  offset: z.int().nonnegative(),
  length: z.int().nonnegative(),
  url: z.string().optional(),
  language: z.string().optional(),
  user: userSchema.optional(),
});

const fileSchema = z.object({
  file_id: z.string(),
  file_size: z.number().optional(),
  file_name: z.string().optional(),
  mime_type: z.string().optional(),
});

const messageSchema = z.object({
  message_id: z.int(),
  date: z.number().default(0),
  edit_date: z.number().optional(),
  chat: chatSchema,
  from: userSchema.optional(),
  sender_chat: z.object({ id: z.int(), title: z.string().optional() }).optional(),
  message_thread_id: z.int().optional(),
  is_topic_message: z.boolean().optional(),
  is_automatic_forward: z.boolean().optional(),
  /** Of a chat of somebody's business account, which only shares its id with a chat of ours. */
  business_connection_id: z.string().optional(),
  /** Of a chat we are not in, where somebody only called us. */
  guest_query_id: z.string().optional(),
  media_group_id: z.string().optional(),
  text: z.string().optional(),
  caption: z.string().optional(),
  entities: z.array(entitySchema).optional(),
  caption_entities: z.array(entitySchema).optional(),
  reply_to_message: z
    .object({
      message_id: z.int().optional(),
      from: userSchema.optional(),
      forum_topic_created: z.unknown().optional(),
    })
    .optional(),
  migrate_to_chat_id: z.int().optional(),
  migrate_from_chat_id: z.int().optional(),
  document: fileSchema.optional(),
  audio: fileSchema.optional(),
  video: fileSchema.optional(),
  voice: fileSchema.optional(),
  video_note: fileSchema.optional(),
  animation: fileSchema.optional(),
  photo: z.array(fileSchema).optional(),
});

const callbackSchema = z.object({
  id: z.string(),
  from: userSchema,
  data: z.string().optional(),
  /** Reduced to chat and id, date 0, when the message is too old to be shown to the bot. */
  message: messageSchema.optional(),
});

const memberSchema = z.object({ status: z.string(), is_member: z.boolean().optional() });

const membershipSchema = z.object({
  chat: chatSchema,
  from: userSchema,
  date: z.number(),
  old_chat_member: memberSchema,
  new_chat_member: memberSchema,
});

const stoppedSchema = z.object({
  chat: chatSchema,
  message_thread_id: z.int().optional(),
  draft_id: z.int(),
});

const reactionsSchema = z.array(z.object({ type: z.string(), emoji: z.string().optional() }));

const reactionSchema = z.object({
  chat: chatSchema,
  message_id: z.int(),
  date: z.number(),
  /** Absent when somebody reacts in the name of a chat. */
  user: userSchema.optional(),
  old_reaction: reactionsSchema,
  new_reaction: reactionsSchema,
});

/** One stored event: the update as it came, and who the bot was then, so that reading it needs nothing else. */
export const telegramRawSchema = z.object({
  bot: z.object({ id: z.int(), username: z.string() }),
  receivedAt: z.number(),
  /** Web hook deliveries overtake each other; polled updates are in order. */
  via: z.literal('webhook').optional(),
  update: z.object({
    update_id: z.int(),
    message: messageSchema.optional(),
    edited_message: messageSchema.optional(),
    callback_query: callbackSchema.optional(),
    my_chat_member: membershipSchema.optional(),
    message_reaction: reactionSchema.optional(),
    stopped_message_generation: stoppedSchema.optional(),
  }),
});

export type TelegramRaw = z.infer<typeof telegramRawSchema>;
export type TelegramMessage = z.infer<typeof messageSchema>;
export type TelegramUser = z.infer<typeof userSchema>;
export type TelegramEntity = z.infer<typeof entitySchema>;
export type TelegramMembership = z.infer<typeof membershipSchema>;
export type TelegramReaction = z.infer<typeof reactionSchema>;

/** What every update has, for storing it before it is read. */
export const updateEnvelopeSchema = z.looseObject({ update_id: z.int() });

const migrationSchema = z.object({
  message: z.object({
    chat: z.object({ id: z.int() }),
    migrate_to_chat_id: z.int().optional(),
    migrate_from_chat_id: z.int().optional(),
  }),
});

/**
 * The key that makes an update's second arrival harmless. A group that becomes a supergroup is announced in the old and
 * in the new chat; both say the same and have one key.
 */
export function dedupKeyOf(update: z.infer<typeof updateEnvelopeSchema>): string {
  const message = migrationSchema.safeParse(update).data?.message;
  const { migrate_to_chat_id: to, migrate_from_chat_id: from } = message ?? {};
  if (message !== undefined && to !== undefined) return `migration:${message.chat.id}:${to}`;
  if (message !== undefined && from !== undefined) return `migration:${from}:${message.chat.id}`;
  return String(update.update_id);
}

/** The updates we ask for. Telegram remembers the last list a bot sent, so it is always sent whole. */
export const allowedUpdates = [
  'message',
  'edited_message',
  'callback_query',
  'my_chat_member',
  'message_reaction',
  'stopped_message_generation',
] as const;
