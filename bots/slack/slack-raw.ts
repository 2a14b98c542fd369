import { z } from 'zod';

/**
 * The parts of Slack's payloads that we read; everything else passes by unread, so that new fields never break us.
 * Written from the reference of events, slash commands and interactions on docs.slack.dev.
 */
const fileSchema = z.object({
  id: z.string(),
  name: z.string().nullish(),
  mimetype: z.string().nullish(),
  size: z.number().nullish(),
  mode: z.string().nullish(),
});

const messageSchema = z.object({
  ts: z.string(),
  text: z.string().nullish(),
  user: z.string().nullish(),
  user_team: z.string().nullish(),
  team: z.string().nullish(),
  bot_id: z.string().nullish(),
  app_id: z.string().nullish(),
  subtype: z.string().nullish(),
  thread_ts: z.string().nullish(),
  files: z.array(fileSchema).nullish(),
});

const eventSchema = messageSchema.partial().extend({
  type: z.string(),
  /** The id of a channel, or the object of one in few events. */
  channel: z.union([z.string(), z.object({ id: z.string() })]).nullish(),
  channel_type: z.string().nullish(),
  event_ts: z.string().nullish(),
  parent_user_id: z.string().nullish(),
  /** Of `app_home_opened`. */
  tab: z.string().nullish(),
  /** Of `message_changed` and `message_deleted`. */
  message: messageSchema.nullish().catch(undefined),
  previous_message: messageSchema.nullish().catch(undefined),
  deleted_ts: z.string().nullish(),
  /** Of `member_joined_channel`. */
  inviter: z.string().nullish(),
  /** Of `tokens_revoked`. */
  tokens: z
    .object({ bot: z.array(z.string()).nullish() })
    .nullish()
    .catch(undefined),
});

export const callbackSchema = z.object({
  type: z.literal('event_callback'),
  team_id: z.string().nullish(),
  api_app_id: z.string().nullish(),
  event_id: z.string(),
  event_time: z.number().nullish(),
  event: eventSchema,
});

export const commandSchema = z.object({
  command: z.string(),
  text: z.string().default(''),
  team_id: z.string().nullish(),
  user_id: z.string(),
  user_name: z.string().nullish(),
  channel_id: z.string(),
  channel_name: z.string().nullish(),
  trigger_id: z.string(),
  response_url: z.string().nullish(),
});

const userSchema = z.object({
  id: z.string(),
  username: z.string().nullish(),
  name: z.string().nullish(),
  team_id: z.string().nullish(),
});

/** The workspace it was done in: says whose the person is where the person does not. */
const teamSchema = z.object({ id: z.string() }).nullish();

export const actionsSchema = z.object({
  type: z.literal('block_actions'),
  user: userSchema,
  team: teamSchema,
  trigger_id: z.string(),
  response_url: z.string().nullish(),
  channel: z.object({ id: z.string(), name: z.string().nullish() }).nullish(),
  container: z.object({ thread_ts: z.string().nullish(), message_ts: z.string().nullish() }).nullish(),
  message: z.object({ ts: z.string(), thread_ts: z.string().nullish() }).nullish(),
  view: z.object({ id: z.string(), private_metadata: z.string().nullish() }).nullish(),
  actions: z
    .array(
      z.object({
        action_id: z.string(),
        action_ts: z.string().nullish(),
        value: z.string().nullish(),
      }),
    )
    .min(1),
});

export const submissionSchema = z.object({
  type: z.literal('view_submission'),
  user: userSchema,
  team: teamSchema,
  trigger_id: z.string().nullish(),
  view: z.object({
    id: z.string(),
    hash: z.string(),
    callback_id: z.string(),
    private_metadata: z.string().nullish(),
    state: z
      .object({ values: z.record(z.string(), z.record(z.string(), z.object({ value: z.string().nullish() }))) })
      .nullish(),
  }),
});

/** Who the bot is in the workspace, as Slack said when the connection was made. */
const botSchema = z.object({ teamId: z.string(), userId: z.string() });

export type Bot = z.infer<typeof botSchema>;

/** One stored event: the payload as it came and all that reading it takes, so that it can be read later by anyone. */
export const slackRawSchema = z.object({
  bot: botSchema,
  account: z.string(),
  /** Whether every message of a person in the bot's direct messages begins a thread. */
  hasDmThreads: z.boolean(),
  receivedAt: z.number(),
  /** The acting person's name and user groups, where they were known in time. */
  name: z.string().optional(),
  roles: z.array(z.string()).optional(),
  body: z.unknown(),
});

export type SlackRaw = z.infer<typeof slackRawSchema>;
export type SlackEvent = z.infer<typeof eventSchema>;
export type SlackMessage = z.infer<typeof messageSchema>;

/** Messages of people; every other subtype is an announcement of Slack itself. */
export function isTalk(event: { readonly type: string; readonly subtype?: string | null | undefined }): boolean {
  if (event.type === 'app_mention') return true;
  if (event.type !== 'message') return false;
  const { subtype } = event;
  return subtype === undefined || subtype === null || subtype === 'file_share' || subtype === 'thread_broadcast';
}

/** The id of the channel an event names. */
export function channelIdOf(channel: SlackEvent['channel']): string | undefined {
  if (channel === undefined || channel === null) return undefined;
  return typeof channel === 'string' ? channel : channel.id;
}
