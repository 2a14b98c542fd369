import { z } from 'zod';

const id = z.string().regex(/^\d{1,20}$/);

const userSchema = z.object({
  id,
  username: z.string().default(''),
  global_name: z.string().nullish(),
  bot: z.boolean().optional(),
});

const memberSchema = z.object({ nick: z.string().nullish(), roles: z.array(z.string()).optional() });

const attachmentSchema = z.object({
  id,
  filename: z.string(),
  content_type: z.string().nullish(),
  size: z.number().nonnegative().optional(),
});

export const messageSchema = z.object({
  id,
  channel_id: id,
  guild_id: id.optional(),
  channel_type: z.number().optional(),
  type: z.number().default(0),
  content: z.string().default(''),
  timestamp: z.string().optional(),
  edited_timestamp: z.string().nullish(),
  author: userSchema,
  member: memberSchema.optional(),
  webhook_id: id.optional(),
  mentions: z.array(userSchema).default([]),
  attachments: z.array(attachmentSchema).default([]),
  message_reference: z.object({ message_id: id.optional(), type: z.number().optional() }).nullish(),
  referenced_message: z.object({ author: userSchema }).nullish(),
  message_snapshots: z
    .array(
      z.object({
        message: z.object({ content: z.string().default(''), attachments: z.array(attachmentSchema).default([]) }),
      }),
    )
    .nullish(),
});
export type DiscordMessage = z.infer<typeof messageSchema>;

const deletedSchema = z.object({ id, channel_id: id, guild_id: id.optional() });

export const reactionSchema = z.object({
  user_id: id,
  channel_id: id,
  message_id: id,
  guild_id: id.optional(),
  member: memberSchema.extend({ user: userSchema.optional() }).optional(),
  emoji: z.object({ id: id.nullish(), name: z.string().nullish() }),
});

interface OptionInput {
  readonly name: string;
  readonly type: number;
  readonly value?: string | number | boolean | undefined;
  readonly focused?: boolean | undefined;
  readonly options?: readonly OptionInput[] | undefined;
}

const optionSchema: z.ZodType<OptionInput> = z.lazy(() =>
  z.object({
    name: z.string(),
    type: z.number(),
    value: z.union([z.string(), z.number(), z.boolean()]).optional(),
    focused: z.boolean().optional(),
    options: z.array(optionSchema).optional(),
  }),
);

const interactionBase = z.object({
  id,
  application_id: id,
  token: z.string().regex(/^\S+$/),
  guild_id: id.optional(),
  channel_id: id.optional(),
  channel: z.object({ id, type: z.number(), parent_id: id.nullish() }).optional(),
  member: memberSchema.extend({ user: userSchema }).optional(),
  user: userSchema.optional(),
  message: z.object({ id, flags: z.number().optional() }).optional(),
  authorizing_integration_owners: z.record(z.string(), z.string()).optional(),
  context: z.number().nullish(),
});

const fieldSchema = z.object({
  custom_id: z.string(),
  value: z.union([z.string(), z.boolean()]).optional(),
  values: z.array(z.string()).optional(),
});

/** Kinds of interactions: commands 2, presses 3, typing into an option 4, forms 5. */
export const interactionSchema = z.discriminatedUnion('type', [
  interactionBase.extend({
    type: z.literal(2),
    data: z.object({ name: z.string(), type: z.number().default(1), options: z.array(optionSchema).default([]) }),
  }),
  interactionBase.extend({
    type: z.literal(3),
    data: z.object({ custom_id: z.string(), values: z.array(z.string()).optional() }),
  }),
  interactionBase.extend({
    type: z.literal(4),
    data: z.object({ name: z.string(), options: z.array(optionSchema).default([]) }),
  }),
  interactionBase.extend({
    type: z.literal(5),
    data: z.object({
      custom_id: z.string(),
      components: z
        .array(z.object({ component: fieldSchema.optional(), components: z.array(fieldSchema).optional() }))
        .default([]),
    }),
  }),
]);
export type DiscordInteraction = z.infer<typeof interactionSchema>;

/** Where a message stands: the room it belongs to, and the thread in it. */
const placeSchema = z.object({
  guild: id.optional(),
  room: id,
  thread: id.optional(),
  kind: z.enum(['dm', 'group', 'channel']),
});
export type EventPlace = z.infer<typeof placeSchema>;

const base = z.object({
  /** The bot's user id. */
  me: id,
  /** When we received it, in ms since the epoch. */
  at: z.number(),
});

/** What is stored of a dispatch: its own data, and what has to be known about where it happened. */
export const storedSchema = z.discriminatedUnion('t', [
  base.extend({
    t: z.literal('MESSAGE_CREATE'),
    d: messageSchema,
    place: placeSchema,
    /** The author's roles, for a message that was asked for later: it comes without them. */
    roles: z.array(z.string()).optional(),
  }),
  base.extend({ t: z.literal('MESSAGE_UPDATE'), d: messageSchema, place: placeSchema }),
  base.extend({ t: z.literal('MESSAGE_DELETE'), d: deletedSchema, place: placeSchema }),
  base.extend({ t: z.literal('MESSAGE_REACTION_ADD'), d: reactionSchema, place: placeSchema }),
  base.extend({ t: z.literal('MESSAGE_REACTION_REMOVE'), d: reactionSchema, place: placeSchema }),
  base.extend({
    t: z.literal('INTERACTION_CREATE'),
    d: interactionSchema,
    /** Names of the command's options in the order in which they stand in its text. */
    order: z.array(z.string()).optional(),
  }),
  base.extend({
    t: z.literal('ROOM'),
    d: z.object({ change: z.enum(['joined', 'left']) }),
    place: placeSchema,
  }),
]);
export type StoredEvent = z.infer<typeof storedSchema>;

/** Kinds of channels that are threads. */
export const threadTypes: ReadonlySet<number> = new Set([10, 11, 12]);
/** Kinds of channels that are private: with one person, with several. */
export const dmType = 1;
export const groupDmType = 3;
