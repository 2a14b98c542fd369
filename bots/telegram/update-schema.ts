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
  text: z.string().optional(),
  caption: z.string().optional(),
  entities: z.array(entitySchema).optional(),
  caption_entities: z.array(entitySchema).optional(),
  reply_to_message: z.object({ from: userSchema.optional(), forum_topic_created: z.unknown().optional() }).optional(),
  migrate_to_chat_id: z.int().optional(),
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

/** One stored event: the update as it came, and who the bot was then, so that reading it needs nothing else. */
export const telegramRawSchema = z.object({
  bot: z.object({ id: z.int(), username: z.string() }),
  receivedAt: z.number(),
  update: z.object({
    update_id: z.int(),
    message: messageSchema.optional(),
    edited_message: messageSchema.optional(),
    callback_query: callbackSchema.optional(),
    my_chat_member: membershipSchema.optional(),
    stopped_message_generation: stoppedSchema.optional(),
  }),
});

export type TelegramRaw = z.infer<typeof telegramRawSchema>;
export type TelegramMessage = z.infer<typeof messageSchema>;
export type TelegramUser = z.infer<typeof userSchema>;
export type TelegramEntity = z.infer<typeof entitySchema>;
export type TelegramMembership = z.infer<typeof membershipSchema>;

/** The updates we ask for. Telegram remembers the last list a bot sent, so it is always sent whole. */
export const allowedUpdates = [
  'message',
  'edited_message',
  'callback_query',
  'my_chat_member',
  'stopped_message_generation',
] as const;
