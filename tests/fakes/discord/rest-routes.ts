import { type Gateway, intentBits } from './gateway.ts';
import {
  invalidBody,
  missingAccess,
  missingPermissions,
  RestError,
  unknownChannel,
  unknownMessage,
} from './rest-error.ts';
import { checkMessage, type Upload } from './validate.ts';
import { channelObject, mentionedIn, messageEvent, messageObject, userObject } from './wire.ts';
import { type FakeChannel, type FakeMessage, flagBits, preciseNow, snowflake, type World } from './world.ts';

export interface RestCall {
  readonly params: readonly string[];
  readonly body: Readonly<Record<string, unknown>>;
  readonly files: readonly Upload[];
  readonly query: URLSearchParams;
}

export interface RestDeps {
  readonly world: World;
  readonly gateway: Gateway;
  readonly baseUrl: () => string;
}

type Handler = (deps: RestDeps, call: RestCall) => unknown;

interface Route {
  readonly method: string;
  readonly path: RegExp;
  /** What tests and planned faults call it. */
  readonly name: string;
  readonly handle: Handler;
}

const route = (method: string, path: string, name: string, handle: Handler): Route => ({
  method,
  path: new RegExp(`^${path.replaceAll(':id', '(\\d+)').replaceAll(':any', '([^/]+)')}$`),
  name,
  handle,
});

/** Answers without a body. */
export const nothing = Symbol('204');

/** Calls by bot token. */
export const botRoutes: readonly Route[] = [
  route('GET', '/gateway/bot', 'gateway', ({ gateway }) => ({
    url: gateway.resumeUrl,
    shards: 1,
    session_start_limit: { total: 1_000, remaining: 1_000, reset_after: 0, max_concurrency: 1 },
  })),
  route('GET', '/users/@me', 'getMe', ({ world }) => userObject(world.bot)),
  route('GET', '/applications/@me', 'getApplication', ({ world }) => ({
    id: world.applicationId,
    name: world.bot.username,
    flags: world.applicationFlags,
  })),
  route('POST', '/users/@me/channels', 'createDm', ({ world }, { body }) => {
    const id = String(body['recipient_id']);
    if (!world.users.has(id)) throw invalidBody('recipient_id', 'NUMBER_TYPE_COERCE', 'Unknown user.');
    return channelObject(world.dmWith(id));
  }),
  route('GET', '/channels/:id', 'getChannel', (deps, call) => channelObject(visible(deps.world, call.params[0]))),
  route('PATCH', '/channels/:id', 'editChannel', (deps, { params, body }) => {
    const channel = visible(deps.world, params[0]);
    if (channel.isLocked) throw missingPermissions();
    if (typeof body['archived'] === 'boolean') setArchived(deps, channel, body['archived'], channel.isLocked);
    return channelObject(channel);
  }),
  route('GET', '/channels/:id/messages', 'listMessages', listMessages),
  route('POST', '/channels/:id/messages', 'createMessage', createMessage),
  route('GET', '/channels/:id/messages/:id', 'getMessage', (deps, { params }) =>
    messageObject(deps.world, find(visible(deps.world, params[0]), params[1]), deps.baseUrl()),
  ),
  route('PATCH', '/channels/:id/messages/:id', 'editMessage', editMessage),
  route('DELETE', '/channels/:id/messages/:id', 'deleteMessage', (deps, { params }) => {
    const channel = visible(deps.world, params[0]);
    const message = find(channel, params[1]);
    if (message.author.id !== deps.world.bot.id && channel.guildId === undefined) throw missingPermissions();
    removeMessage(deps, channel, message);
    return nothing;
  }),
  route('POST', '/channels/:id/messages/:id/threads', 'startThread', startThread),
  route('POST', '/channels/:id/threads', 'startThreadAlone', ({ world, gateway }, { params, body }) => {
    const channel = threadable(world, params[0]);
    return channelObject(openThread(world, gateway, channel, snowflake(), String(body['name'] ?? ''), world.bot.id));
  }),
  route('POST', '/channels/:id/typing', 'typing', ({ world }, { params }) => {
    sendable(world, params[0]).typing.push(preciseNow());
    return nothing;
  }),
  route('PUT', '/channels/:id/messages/:id/reactions/:any/@me', 'createReaction', ({ world }, { params }) => {
    const message = find(visible(world, params[0]), params[1]);
    const emoji = decodeURIComponent(params[2] ?? '');
    if (!/^(?:\p{Extended_Pictographic}\ufe0f?|\w+:\d+)$/u.test(emoji))
      throw new RestError(400, 10_014, 'Unknown Emoji');
    message.reactions.set(emoji, (message.reactions.get(emoji) ?? new Set()).add(world.bot.id));
    return nothing;
  }),
  route('DELETE', '/channels/:id/messages/:id/reactions/:any/@me', 'deleteReaction', ({ world }, { params }) => {
    const message = find(visible(world, params[0]), params[1]);
    const emoji = decodeURIComponent(params[2] ?? '');
    message.reactions.get(emoji)?.delete(world.bot.id);
    if (message.reactions.get(emoji)?.size === 0) message.reactions.delete(emoji);
    return nothing;
  }),
  route('GET', '/guilds/:id/members/:id', 'getMember', ({ world }, { params }) => {
    const guild = world.guilds.get(params[0] ?? '');
    if (guild === undefined || !guild.hasBot) throw missingAccess();
    const roles = guild.members.get(params[1] ?? '');
    const user = world.users.get(params[1] ?? '');
    if (roles === undefined || user === undefined) throw new RestError(404, 10_007, 'Unknown Member');
    return { user: userObject(user), roles, nick: null };
  }),
  route('GET', '/applications/:id/commands', 'getCommands', ({ world }) => world.commands.map(commandObject)),
  route('PUT', '/applications/:id/commands', 'putCommands', putCommands),
];

function commandObject({ id, type, name, body }: World['commands'][number]): Record<string, unknown> {
  return { ...body, id, type, name, application_id: '1', version: id };
}

function putCommands({ world }: RestDeps, { body }: RestCall): unknown {
  const list: unknown = body['list'];
  if (!Array.isArray(list)) throw invalidBody('', 'LIST_TYPE_CONVERT', 'Only iterables may be used.');
  const commands = list.map((item: unknown, index) => {
    const command: Record<string, unknown> = typeof item === 'object' && item !== null ? { ...item } : {};
    checkCommand(command, index);
    const known = world.commands.find(({ name, type }) => name === command['name'] && type === (command['type'] ?? 1));
    return {
      id: known?.id ?? snowflake(),
      type: Number(command['type'] ?? 1),
      name: String(command['name']),
      body: { default_member_permissions: null, nsfw: false, ...command },
    };
  });
  world.commands = commands;
  world.commandWrites += 1;
  return commands.map(commandObject);
}

function checkCommand(command: Readonly<Record<string, unknown>>, index: number): void {
  const type = Number(command['type'] ?? 1);
  const name = String(command['name'] ?? '');
  if (type === 1 && !/^[-_'\p{L}\p{N}]{1,32}$/u.test(name)) {
    throw invalidBody(`${index}.name`, 'STRING_TYPE_REGEX', 'String value did not match validation regex.');
  }
  if (type !== 1) return;
  const description = String(command['description'] ?? '');
  if (description.length < 1 || description.length > 100) {
    throw invalidBody(`${index}.description`, 'BASE_TYPE_BAD_LENGTH', 'Must be between 1 and 100 in length.');
  }
  const options: unknown = command['options'] ?? [];
  if (!Array.isArray(options) || options.length > 25) {
    throw invalidBody(`${index}.options`, 'BASE_TYPE_MAX_LENGTH', 'Must be 25 or fewer in length.');
  }
  let hasOptional = false;
  for (const option of options as Record<string, unknown>[]) {
    if (option['required'] !== true) hasOptional = true;
    else if (hasOptional) {
      const message = 'Required options must be placed before non-required options';
      throw invalidBody(`${index}.options`, 'APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID', message);
    }
    if (option['autocomplete'] === true && Array.isArray(option['choices']) && option['choices'].length > 0) {
      const message = 'Autocomplete cannot be combined with choices';
      throw invalidBody(`${index}.options`, 'APPLICATION_COMMAND_OPTIONS_TYPE_INVALID', message);
    }
  }
}

function listMessages(deps: RestDeps, { params, query }: RestCall): unknown {
  const channel = visible(deps.world, params[0]);
  const limit = Number(query.get('limit') ?? 50);
  if (!(limit >= 1 && limit <= 100)) throw invalidBody('limit', 'NUMBER_TYPE_MAX', 'int value should be at most 100.');
  const after = query.get('after');
  const public_ = [...channel.messages.values()].filter(({ onlyFor }) => onlyFor === undefined);
  const sorted = public_.sort((a, b) => (BigInt(a.id) < BigInt(b.id) ? -1 : 1));
  // The oldest ones after that id, and yet the newest of them first.
  const page =
    after === null ? sorted.slice(-limit) : sorted.filter(({ id }) => BigInt(id) > BigInt(after)).slice(0, limit);
  return page.reverse().map((message) => messageObject(deps.world, message, deps.baseUrl()));
}

function createMessage(deps: RestDeps, { params, body, files }: RestCall): unknown {
  const { world } = deps;
  const channel = sendable(world, params[0]);
  checkMessage(body, files);
  const nonce = body['nonce'] === undefined ? undefined : String(body['nonce']);
  const key = `${channel.id}:${nonce}`;
  const repeated = body['enforce_nonce'] === true && nonce !== undefined ? world.nonces.get(key) : undefined;
  // Even of a message that was deleted meanwhile: the server remembers the nonce, not the message.
  if (repeated !== undefined) return messageObject(world, repeated, deps.baseUrl());
  const replyTo = checkReply(world, channel, body['message_reference']);
  if (channel.isArchived) setArchived(deps, channel, false, channel.isLocked);
  const message = world.addMessage(channel, {
    author: world.bot,
    nonce,
    replyTo,
    ...contentOf(world, body, files),
  });
  if (body['enforce_nonce'] === true && nonce !== undefined) world.nonces.set(key, message);
  announce(deps, message);
  return messageObject(world, message, deps.baseUrl());
}

function editMessage(deps: RestDeps, { params, body, files }: RestCall): unknown {
  const { world } = deps;
  const channel = visible(world, params[0]);
  const message = find(channel, params[1]);
  if (message.author.id !== world.bot.id)
    throw new RestError(403, 50_005, 'Cannot edit a message authored by another user');
  if (message.onlyFor !== undefined) throw unknownMessage();
  if (channel.isArchived) throw new RestError(400, 50_083, 'Thread is archived');
  changeMessage(deps, message, body, files);
  return messageObject(world, message, deps.baseUrl());
}

/** Edits a message in place and tells the gateway. */
export function changeMessage(
  deps: RestDeps,
  message: FakeMessage,
  body: Readonly<Record<string, unknown>>,
  files: readonly Upload[],
): void {
  checkMessage(body, files, message);
  const next = contentOf(deps.world, { allowed_mentions: { parse: [] }, ...body }, files);
  if (body['content'] !== undefined) message.content = next.content;
  if (body['components'] !== undefined) message.components = next.components;
  if (body['attachments'] !== undefined || files.length > 0) {
    message.files = next.files;
    for (const file of next.files) deps.world.files.set(file.id, file);
  }
  const changeable = flagBits.suppressEmbeds | flagBits.componentsV2;
  if (body['flags'] !== undefined) {
    const kept = message.flags & (~changeable | flagBits.componentsV2);
    message.flags = kept | (Number(body['flags']) & changeable);
  }
  message.flags &= ~flagBits.loading;
  message.editedAt = preciseNow();
  message.edits += 1;
  tell(deps, 'MESSAGE_UPDATE', message);
}

export function removeMessage(deps: RestDeps, channel: FakeChannel, message: FakeMessage): void {
  channel.messages.delete(message.id);
  const intent = channel.guildId === undefined ? intentBits.directMessages : intentBits.guildMessages;
  deps.gateway.dispatch('MESSAGE_DELETE', intent, () => ({
    id: message.id,
    channel_id: channel.id,
    ...(channel.guildId === undefined ? {} : { guild_id: channel.guildId }),
  }));
}

/** What a message is made of, from a body that was checked. */
export function contentOf(
  world: World,
  body: Readonly<Record<string, unknown>>,
  files: readonly Upload[],
): Pick<FakeMessage, 'content' | 'components' | 'files' | 'flags' | 'pings'> {
  const content = typeof body['content'] === 'string' ? body['content'] : '';
  const components: readonly unknown[] = Array.isArray(body['components']) ? body['components'] : [];
  const allowedFlags = flagBits.suppressEmbeds | flagBits.suppressNotifications | flagBits.componentsV2;
  return {
    content,
    components,
    flags: Number(body['flags'] ?? 0) & allowedFlags,
    files: files.map((file) => ({ id: snowflake(), ...file })),
    pings: pingsOf(world, `${content}\n${JSON.stringify(components)}`, body['allowed_mentions']),
  };
}

/** Whom the server would notify: without `allowed_mentions` everyone a text names. */
function pingsOf(world: World, text: string, allowed: unknown): string[] {
  const record: Record<string, unknown> | undefined =
    typeof allowed === 'object' && allowed !== null ? { ...allowed } : undefined;
  const parse = record === undefined ? ['users', 'roles', 'everyone'] : record['parse'];
  const users = record?.['users'];
  const may = (kind: string): boolean => Array.isArray(parse) && parse.includes(kind);
  const pings = mentionedIn(text).filter(
    (id) => world.users.has(id) && (may('users') || (Array.isArray(users) && users.includes(id))),
  );
  if (may('everyone') && /@(?:everyone|here)/.test(text)) pings.push('everyone');
  if (may('roles')) pings.push(...[...text.matchAll(/<@&(\d+)>/g)].map(([, id]) => `role ${id ?? ''}`));
  return pings;
}

function checkReply(world: World, channel: FakeChannel, reference: unknown): string | undefined {
  if (typeof reference !== 'object' || reference === null) return undefined;
  const id = String(Reflect.get(reference, 'message_id') ?? '');
  if (channel.messages.has(id)) return id;
  const isElsewhere = [...world.channels.values()].some(({ messages }) => messages.has(id));
  if (isElsewhere) {
    const message = 'Cannot reply to a message in a different channel';
    throw invalidBody('message_reference', 'REPLIES_CANNOT_REFERENCE_OTHER_CHANNEL', message);
  }
  if (Reflect.get(reference, 'fail_if_not_exists') === false) return undefined;
  throw invalidBody('message_reference', 'MESSAGE_REFERENCE_UNKNOWN_MESSAGE', 'Unknown message');
}

function startThread({ world, gateway }: RestDeps, { params, body }: RestCall): unknown {
  const channel = threadable(world, params[0]);
  const message = find(channel, params[1]);
  if (world.channels.has(message.id))
    throw new RestError(400, 160_004, 'A thread has already been created for this message');
  const name = String(body['name'] ?? '');
  if (name.length < 1 || name.length > 100) {
    throw invalidBody('name', 'BASE_TYPE_BAD_LENGTH', 'Must be between 1 and 100 in length.');
  }
  return channelObject(openThread(world, gateway, channel, message.id, name, world.bot.id));
}

export function openThread(
  world: World,
  gateway: Gateway,
  channel: FakeChannel,
  id: string,
  name: string,
  ownerId: string,
): FakeChannel {
  const thread = world.addChannel({ id, type: 11, name, guildId: channel.guildId, parentId: channel.id, ownerId });
  gateway.dispatch('THREAD_CREATE', intentBits.guilds, () => ({ ...channelObject(thread), newly_created: true }));
  return thread;
}

export function setArchived(deps: RestDeps, thread: FakeChannel, isArchived: boolean, isLocked: boolean): void {
  thread.isArchived = isArchived;
  thread.isLocked = isLocked;
  deps.gateway.dispatch('THREAD_UPDATE', intentBits.guilds, () => channelObject(thread));
}

/** Tells the gateway about a new message. */
export function announce(deps: RestDeps, message: FakeMessage): void {
  tell(deps, 'MESSAGE_CREATE', message);
}

function tell(deps: RestDeps, t: string, message: FakeMessage): void {
  if (message.onlyFor !== undefined) return;
  const isPrivate = deps.world.channels.get(message.channelId)?.guildId === undefined;
  deps.gateway.dispatch(t, isPrivate ? intentBits.directMessages : intentBits.guildMessages, (hasContent) =>
    messageEvent(deps.world, message, deps.baseUrl(), hasContent),
  );
}

function visible(world: World, id: string | undefined): FakeChannel {
  const channel = world.channels.get(id ?? '');
  if (channel === undefined) throw unknownChannel();
  const guild = channel.guildId === undefined ? undefined : world.guilds.get(channel.guildId);
  if (!channel.canView || guild?.hasBot === false) throw missingAccess();
  return channel;
}

function sendable(world: World, id: string | undefined): FakeChannel {
  const channel = visible(world, id);
  if (channel.recipientId !== undefined && world.closedTo.has(channel.recipientId)) {
    throw new RestError(403, 50_007, 'Cannot send messages to this user');
  }
  if (!channel.canSend) throw missingPermissions();
  if (channel.isLocked) throw new RestError(400, 160_005, 'Thread is locked');
  if (channel.type === 15) throw new RestError(400, 50_008, 'Cannot send messages in a non-text channel');
  return channel;
}

function threadable(world: World, id: string | undefined): FakeChannel {
  const channel = visible(world, id);
  if (channel.guildId === undefined || channel.parentId !== undefined) {
    throw new RestError(400, 50_024, 'Cannot execute action on this channel type');
  }
  if (!channel.canThread) throw missingPermissions();
  return channel;
}

function find(channel: FakeChannel, id: string | undefined): FakeMessage {
  const message = channel.messages.get(id ?? '');
  if (message === undefined) throw unknownMessage();
  return message;
}
