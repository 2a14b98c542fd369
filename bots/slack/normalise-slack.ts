import type { Actor, InboundEvent, InboundFile } from '#core/inbox/inbound.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { formCallbackId, readFormMetadata } from './form-view.ts';
import { homeRoomOf } from './home-view.ts';
import { encodeInteraction, type Interaction } from './interaction-token.ts';
import { mrkdwnToMarkdown } from './mrkdwn-to-markdown.ts';
import {
  actionsSchema,
  callbackSchema,
  channelIdOf,
  commandSchema,
  isTalk,
  type SlackEvent,
  type SlackMessage,
  type SlackRaw,
  slackRawSchema,
  submissionSchema,
} from './slack-raw.ts';
import { slashPrefix } from './slash-prefix.ts';

/** Stored event to neutral events: pure, at most one event, none for anything unknown or not done by a person. */
export function normaliseSlack(raw: unknown): readonly InboundEvent[] {
  const stored = slackRawSchema.safeParse(raw).data;
  if (stored === undefined) return [];
  const { body } = stored;
  const callback = callbackSchema.safeParse(body).data;
  if (callback !== undefined) return normaliseEvent(stored, callback.event, callback.api_app_id ?? undefined);
  const command = commandSchema.safeParse(body).data;
  if (command !== undefined) return normaliseCommand(stored, command);
  const actions = actionsSchema.safeParse(body).data;
  if (actions !== undefined) return normalisePress(stored, actions);
  const submission = submissionSchema.safeParse(body).data;
  if (submission !== undefined) return normaliseForm(stored, submission);
  return [];
}

function normaliseEvent(stored: SlackRaw, event: SlackEvent, appId: string | undefined): readonly InboundEvent[] {
  const room = channelIdOf(event.channel);
  if (room === undefined) return [];
  if (isTalk(event)) return normaliseMessage(stored, event, { room, appId });
  if (event.type === 'message') return normaliseChange(stored, event, room);
  const conversation = conversationOf(stored, { room, type: event.channel_type });
  const base = { conversation, occurredAt: timeOf(event.event_ts, stored) };
  const actor = actorOf(stored, event.user, event.user_team);
  switch (event.type) {
    case 'app_home_opened':
      return actor !== undefined && event.tab === 'home' ? [{ ...base, actor, type: 'home' }] : [];
    case 'agent_session_stopped':
      return actor === undefined
        ? []
        : [{ ...base, actor, conversation: { ...conversation, ...threadOf(event.thread_ts) }, type: 'stop' }];
    case 'member_joined_channel':
      // Others come and go, too; only the bot's own membership is a fact about its room.
      return event.user === stored.bot.userId ? [membership(stored, base, event.inviter, 'joined')] : [];
    case 'channel_left':
    case 'group_left':
      return [membership(stored, base, undefined, 'left')];
    case 'channel_archive':
    case 'group_archive':
      return [membership(stored, base, event.user, 'archived')];
    case 'channel_unarchive':
    case 'group_unarchive':
      return [membership(stored, base, event.user, 'unarchived')];
    default:
      return [];
  }
}

function membership(
  stored: SlackRaw,
  base: { readonly conversation: Conversation; readonly occurredAt: Date },
  by: string | null | undefined,
  change: 'joined' | 'left' | 'archived' | 'unarchived',
): InboundEvent {
  return { ...base, actor: actorOf(stored, by, undefined) ?? nobody, type: 'membership', change };
}

function normaliseMessage(
  stored: SlackRaw,
  event: SlackEvent,
  { room, appId }: { readonly room: string; readonly appId: string | undefined },
): readonly InboundEvent[] {
  const { ts } = event;
  if (ts === undefined || isOfBot(stored, event, appId)) return [];
  const actor = actorOf(stored, event.user, event.user_team ?? event.team);
  if (actor === undefined) return [];
  const files = filesOf(event.files ?? []);
  const source = event.text ?? '';
  if (source.trim() === '' && files.length === 0) return [];
  const { isNamed, text } = takeMention(source, stored.bot.userId);
  const isPrivate = isDm(room, event.channel_type);
  const conversation = conversationOf(stored, { room, type: event.channel_type, ts, thread: event.thread_ts });
  const base = { conversation, actor, occurredAt: timeOf(ts, stored), messageId: ts, ...sequenceOf(ts) };
  const markdown = mrkdwnToMarkdown(text);
  const command = isPrivate ? readCommand(markdown) : undefined;
  if (command !== undefined) {
    return [{ ...base, type: 'command', ...command, ...(files.length === 0 ? {} : { files }) }];
  }
  const isReply = event.thread_ts !== undefined && event.thread_ts !== null;
  return [
    {
      ...base,
      type: 'message',
      text: markdown,
      files,
      // Named in private counts as named: commands in words are read only from those.
      addressed: isNamed
        ? 'mention'
        : isPrivate
          ? 'dm'
          : !isReply
            ? 'none'
            : event.parent_user_id === stored.bot.userId
              ? 'reply'
              : 'thread',
    },
  ];
}

function normaliseChange(stored: SlackRaw, event: SlackEvent, room: string): readonly InboundEvent[] {
  const { message, previous_message: before } = event;
  const subject = message ?? before;
  if (subject === undefined || subject === null || isOfBot(stored, subject, undefined)) return [];
  const actor = actorOf(stored, subject.user, subject.user_team ?? subject.team);
  const ts = event.deleted_ts ?? subject.ts;
  if (actor === undefined) return [];
  const conversation = conversationOf(stored, { room, type: event.channel_type, ts, thread: subject.thread_ts });
  const base = { conversation, actor, occurredAt: timeOf(event.event_ts ?? event.ts, stored), messageId: ts };
  if (event.subtype === 'message_deleted') return [{ ...base, type: 'delete' }];
  // A loaded link preview comes as a change, too. A deleted root of a thread comes as one that leaves a tombstone.
  if (event.subtype !== 'message_changed' || message === undefined || message === null) return [];
  if (message.subtype === 'tombstone') return [{ ...base, type: 'delete' }];
  if (message.text === before?.text) return [];
  const { text } = takeMention(message.text ?? '', stored.bot.userId);
  return [{ ...base, type: 'edit', text: mrkdwnToMarkdown(text), files: filesOf(message.files ?? []) }];
}

function normaliseCommand(
  stored: SlackRaw,
  command: ReturnType<(typeof commandSchema)['parse']>,
): readonly InboundEvent[] {
  const { channel_id: room, channel_name: name, user_id: user } = command;
  const conversation = conversationOf(stored, { room, name });
  const actor = actorOf(stored, user, command.team_id, command.user_name);
  if (actor === undefined) return [];
  return [
    {
      type: 'command',
      name: commandNameOf(command.command),
      args: mrkdwnToMarkdown(command.text).trim(),
      conversation,
      actor,
      occurredAt: new Date(stored.receivedAt),
      interactionToken: interactionOf(stored, conversation, {
        what: 'command',
        user,
        trigger: command.trigger_id,
        url: command.response_url,
      }),
    },
  ];
}

/** Our name of a command in Slack's menu. */
function commandNameOf(slash: string): string {
  const name = slash.replace(/^\/+/, '').toLowerCase();
  return name.startsWith(slashPrefix) ? name.slice(slashPrefix.length) : name;
}

function normalisePress(stored: SlackRaw, press: ReturnType<(typeof actionsSchema)['parse']>): readonly InboundEvent[] {
  const [action] = press.actions;
  // A link that was followed is a press without a value.
  const token = action?.value ?? undefined;
  const room = press.channel?.id ?? homeRoomOf(press.view?.private_metadata ?? undefined);
  const actor = actorOf(
    stored,
    press.user.id,
    press.user.team_id ?? press.team?.id,
    press.user.name ?? press.user.username,
  );
  if (token === undefined || room === undefined || actor === undefined) return [];
  const messageId = press.message?.ts ?? press.container?.message_ts ?? undefined;
  const thread = press.message?.thread_ts ?? press.container?.thread_ts ?? undefined;
  const base = conversationOf(stored, { room, name: press.channel?.name });
  // The root of a thread belongs to the stream it was posted to.
  const conversation = thread === messageId ? base : { ...base, ...threadOf(thread) };
  return [
    {
      type: 'action',
      token,
      conversation,
      actor,
      occurredAt: new Date(stored.receivedAt),
      ...(messageId === undefined ? {} : { messageId }),
      interactionToken: interactionOf(stored, conversation, {
        what: 'press',
        user: press.user.id,
        trigger: press.trigger_id,
        url: press.response_url,
      }),
    },
  ];
}

function normaliseForm(
  stored: SlackRaw,
  { view, user, team, trigger_id: trigger }: ReturnType<(typeof submissionSchema)['parse']>,
): readonly InboundEvent[] {
  const form = view.callback_id === formCallbackId ? readFormMetadata(view.private_metadata ?? '') : undefined;
  const actor = actorOf(stored, user.id, user.team_id ?? team?.id, user.name ?? user.username);
  if (form === undefined || actor === undefined) return [];
  const { room, thread, kind, token } = form;
  const conversation: Conversation = {
    channel: 'slack',
    account: stored.account,
    space: stored.bot.teamId,
    room,
    kind,
    ...threadOf(thread),
  };
  const values = Object.entries(view.state?.values ?? {}).map(([name, elements]) => [
    name,
    Object.values(elements)[0]?.value ?? '',
  ]);
  return [
    {
      type: 'form',
      token,
      conversation,
      actor,
      occurredAt: new Date(stored.receivedAt),
      values: Object.fromEntries(values),
      interactionToken: interactionOf(stored, conversation, { what: 'form', user: user.id, trigger, url: undefined }),
    },
  ];
}

const nobody: Actor = { externalId: '0', displayName: '', isBot: false, isAnonymous: true };
const slackbot = 'USLACKBOT';

function actorOf(
  stored: SlackRaw,
  id: string | null | undefined,
  team: string | null | undefined,
  name?: string | null,
): Actor | undefined {
  if (id === undefined || id === null || id === stored.bot.userId || id === slackbot) return undefined;
  return {
    externalId: id,
    displayName: stored.name ?? name ?? id,
    isBot: false,
    isAnonymous: false,
    ...(team === undefined || team === null || team === stored.bot.teamId ? {} : { isExternal: true }),
    ...(stored.roles === undefined ? {} : { roles: stored.roles }),
  };
}

/** Whether the bot or any other program wrote it: programs that answer each other never stop. */
function isOfBot(
  stored: SlackRaw,
  message: Pick<SlackMessage, 'user' | 'bot_id' | 'app_id'> | SlackEvent,
  appId: string | undefined,
): boolean {
  if (message.bot_id !== undefined && message.bot_id !== null) return true;
  if (message.user === stored.bot.userId) return true;
  return appId !== undefined && message.app_id === appId;
}

/** Takes out the bot's own name; everybody else's stays. */
function takeMention(text: string, userId: string): { readonly isNamed: boolean; readonly text: string } {
  const own = new RegExp(`<@${userId}(?:\\|[^>]*)?>`);
  if (!own.test(text)) return { isNamed: false, text };
  const leading = new RegExp(`^\\s*<@${userId}(?:\\|[^>]*)?>\\s*[,:]?\\s*`);
  if (leading.test(text)) return { isNamed: true, text: text.replace(leading, '') };
  return { isNamed: true, text: text.replace(own, '').replaceAll(/ {2,}/g, ' ').trim() };
}

/** Slack sends its own commands apart; one it does not know, or in a thread, a person can only send as a message. */
function readCommand(text: string): { readonly name: string; readonly args: string } | undefined {
  const match = /^\s*\/([a-z][\w-]{0,31})(?:\s+([\s\S]*))?$/i.exec(text);
  return match === null ? undefined : { name: (match[1] ?? '').toLowerCase(), args: (match[2] ?? '').trim() };
}

function filesOf(files: NonNullable<SlackMessage['files']>): InboundFile[] {
  return files.flatMap(({ id, name, mimetype, size, mode }) =>
    mode === 'tombstone' || mode === 'hidden_by_limit'
      ? []
      : [
          {
            name: name ?? 'file',
            fetchKey: id,
            ...(mimetype === undefined || mimetype === null ? {} : { mime: mimetype }),
            ...(size === undefined || size === null ? {} : { bytes: size }),
          },
        ],
  );
}

function conversationOf(
  { account, bot, hasDmThreads }: SlackRaw,
  place: {
    readonly room: string;
    readonly type?: string | null | undefined;
    readonly name?: string | null | undefined;
    readonly ts?: string;
    readonly thread?: string | null | undefined;
  },
): Conversation {
  const { room, ts } = place;
  const isPrivate = isDm(room, place.type);
  const isGroup = place.type === 'mpim' || place.name?.startsWith('mpdm-') === true;
  // A message is the root of the thread its answer goes to, but for direct messages that are one stream.
  const root = isPrivate && !hasDmThreads ? undefined : ts;
  return {
    channel: 'slack',
    account,
    space: bot.teamId,
    room,
    ...threadOf(place.thread ?? root),
    kind: isPrivate ? 'dm' : isGroup ? 'group' : 'channel',
  };
}

function threadOf(thread: string | null | undefined): { readonly thread?: string } {
  return thread === undefined || thread === null ? {} : { thread };
}

function isDm(room: string, type: string | null | undefined): boolean {
  return type === 'im' || room.startsWith('D');
}

/** The time of a message is unique in its channel: Slack's own order, whichever way the events came. */
function sequenceOf(ts: string): { readonly sequence?: number } {
  const sequence = Number(ts.replace('.', ''));
  return /^\d{9,11}\.\d{6}$/.test(ts) && Number.isSafeInteger(sequence) ? { sequence } : {};
}

/** Slack's times are seconds with six decimals. */
function timeOf(ts: string | null | undefined, { receivedAt }: SlackRaw): Date {
  const ms = Number(ts) * 1_000;
  return new Date(Number.isFinite(ms) && ms > 0 ? ms : receivedAt);
}

function interactionOf(
  { receivedAt }: SlackRaw,
  conversation: Conversation,
  given: {
    readonly what: Interaction['what'];
    readonly user: string;
    readonly trigger: string | null | undefined;
    readonly url: string | null | undefined;
  },
): string {
  return encodeInteraction({
    what: given.what,
    user: given.user,
    room: conversation.room,
    kind: conversation.kind,
    at: receivedAt,
    ...threadOf(conversation.thread),
    ...(given.trigger === undefined || given.trigger === null ? {} : { trigger: given.trigger }),
    ...(given.url === undefined || given.url === null ? {} : { url: given.url }),
  });
}
