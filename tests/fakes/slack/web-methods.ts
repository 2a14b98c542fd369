import {
  checkMetadata,
  type Method,
  type MethodContext,
  ownMessage,
  type Parameters,
  threadOf,
} from './method-support.ts';
import { SlackError } from './slack-error.ts';
import { streamMethods } from './stream-methods.ts';
import { checkBlocks, checkView } from './validate-blocks.ts';
import type { FakeMessage, World } from './world.ts';

const textMax = 40_000;
const updateBytesMax = 4_000;

/** Bot scopes a method takes; any one of them is enough where there are several. */
export const scopesOf: Readonly<Record<string, readonly string[]>> = {
  'assistant.threads.setStatus': ['chat:write', 'assistant:write'],
  'chat.appendStream': ['chat:write'],
  'chat.delete': ['chat:write'],
  'chat.postEphemeral': ['chat:write'],
  'chat.postMessage': ['chat:write'],
  'chat.startStream': ['chat:write'],
  'chat.stopStream': ['chat:write'],
  'chat.update': ['chat:write'],
  'conversations.history': ['channels:history', 'groups:history', 'im:history', 'mpim:history'],
  'conversations.open': ['im:write', 'mpim:write'],
  'conversations.replies': ['channels:history', 'groups:history', 'im:history', 'mpim:history'],
  'files.completeUploadExternal': ['files:write'],
  'files.delete': ['files:write'],
  'files.getUploadURLExternal': ['files:write'],
  'files.info': ['files:read'],
  'reactions.add': ['reactions:write'],
  'reactions.remove': ['reactions:write'],
  'usergroups.list': ['usergroups:read'],
  'users.info': ['users:read'],
};

export const webMethods: Readonly<Record<string, Method>> = {
  ...streamMethods,
  'auth.test': ({ world, baseUrl }) => ({
    url: baseUrl,
    team: 'Workspace',
    user: 'switchyard',
    team_id: world.teamId,
    user_id: world.botUser,
    bot_id: world.botId,
  }),
  'chat.postMessage': (context, parameters) => {
    const { world } = context;
    const channel = world.channelFor(parameters['channel']);
    const message = world.addMessage(channel, {
      ...contentOf(context, parameters),
      threadTs: threadOf(channel, parameters),
    });
    return { channel: channel.id, ts: message.ts, message: messageObject(world, message) };
  },
  'chat.postEphemeral': (context, parameters) => {
    const { world } = context;
    const channel = world.channelFor(parameters['channel']);
    const user = String(parameters['user'] ?? '');
    if (!channel.members.has(user)) throw new SlackError('user_not_in_channel');
    const threadTs = threadOf(channel, parameters);
    const message = world.addMessage(channel, { ...contentOf(context, parameters), threadTs, onlyFor: user });
    return { message_ts: message.ts };
  },
  'chat.update': (context, parameters) => {
    const { world } = context;
    const { channel, message } = ownMessage(world, parameters, 'cant_update_message');
    if (message.stream?.isOpen === true) throw new SlackError('streaming_state_conflict');
    const { text, blocks, metadata } = contentOf(context, parameters);
    if (Buffer.byteLength(text) > updateBytesMax) throw new SlackError('msg_too_long');
    Object.assign(message, { text, blocks, metadata: metadata ?? message.metadata, edits: message.edits + 1 });
    message.editedAt = world.now();
    if (message.stream !== undefined) message.stream = undefined;
    return { channel: channel.id, ts: message.ts, text };
  },
  'chat.delete': ({ world }, parameters) => {
    const { channel, message } = ownMessage(world, parameters, 'cant_delete_message');
    channel.messages.delete(message.ts);
    return { channel: channel.id, ts: message.ts };
  },
  'assistant.threads.setStatus': ({ world }, parameters) => {
    const channel = world.channelFor(parameters['channel_id']);
    const threadTs = String(parameters['thread_ts'] ?? '');
    if (!channel.messages.has(threadTs)) throw new SlackError('invalid_thread_ts');
    world.statuses.push({ channel: channel.id, threadTs, status: String(parameters['status']), at: world.now() });
    return {};
  },
  'conversations.open': ({ world }, parameters) => {
    const user = String(parameters['users'] ?? '');
    const known = world.users.get(user);
    if (known === undefined) throw new SlackError('user_not_found');
    if (known.isDeactivated) throw new SlackError('user_disabled');
    return { channel: { id: world.openDm(user).id } };
  },
  'conversations.history': ({ world }, parameters) => {
    const channel = world.channelFor(parameters['channel']);
    return page(
      world,
      [...channel.messages.values()].filter(({ threadTs }) => threadTs === undefined).reverse(),
      parameters,
    );
  },
  'conversations.replies': ({ world }, parameters) => {
    const channel = world.channelFor(parameters['channel']);
    const root = String(parameters['ts'] ?? '');
    const thread = [...channel.messages.values()].filter(({ ts, threadTs }) => ts === root || threadTs === root);
    if (thread.length === 0) throw new SlackError('thread_not_found');
    return page(world, thread, parameters);
  },
  'files.getUploadURLExternal': ({ world, baseUrl }, parameters) => {
    const name = String(parameters['filename'] ?? '');
    if (name === '' || !(Number(parameters['length']) > 0)) throw new SlackError('invalid_arguments');
    const file = {
      id: world.nextId('F'),
      name,
      mime: 'application/octet-stream',
      bytes: Buffer.alloc(0),
      isStub: false,
      isDeleted: false,
    };
    world.uploads.set(file.id, file);
    return { file_id: file.id, upload_url: `${baseUrl}upload/${file.id}` };
  },
  'files.completeUploadExternal': ({ world, onFileShared }, parameters) => {
    const channel = world.channelFor(parameters['channel_id']);
    const threadTs = threadOf(channel, parameters);
    const files = (parameters['files'] as { id: string }[]).map(({ id }) => {
      const file = world.uploads.get(id);
      if (file === undefined || file.bytes.length === 0) throw new SlackError('file_not_found');
      world.uploads.delete(id);
      world.files.set(id, file);
      return file;
    });
    const text = String(parameters['initial_comment'] ?? '');
    onFileShared(world.addMessage(channel, { user: world.botUser, text, files, threadTs }));
    return { files: files.map(({ id, name }) => ({ id, title: name })) };
  },
  'files.info': ({ world, baseUrl }, parameters) => {
    const file = world.files.get(String(parameters['file'] ?? ''));
    if (file === undefined) throw new SlackError('file_not_found');
    if (file.isDeleted) throw new SlackError('file_deleted');
    const address = file.externalUrl ?? `${baseUrl}files-pri/${file.id}/${encodeURIComponent(file.name)}`;
    return {
      file: {
        id: file.id,
        name: file.name,
        mimetype: file.mime,
        size: file.bytes.length,
        mode: file.externalUrl === undefined ? 'hosted' : 'external',
        url_private: address,
        url_private_download: address,
      },
    };
  },
  'files.delete': ({ world }, parameters) => {
    const file = world.files.get(String(parameters['file'] ?? ''));
    if (file === undefined || file.isDeleted) throw new SlackError('file_deleted');
    file.isDeleted = true;
    for (const channel of world.channels.values()) {
      for (const message of channel.messages.values()) {
        if (message.files.includes(file)) channel.messages.delete(message.ts);
      }
    }
    return {};
  },
  'reactions.add': ({ world }, parameters) => {
    const { reactions } = reactedMessage(world, parameters);
    const name = String(parameters['name']);
    if (!/^[a-z0-9_+'-]{1,100}$/.test(name)) throw new SlackError('invalid_name');
    if (reactions.has(name)) throw new SlackError('already_reacted');
    reactions.add(name);
    return {};
  },
  'reactions.remove': ({ world }, parameters) => {
    if (!reactedMessage(world, parameters).reactions.delete(String(parameters['name'])))
      throw new SlackError('no_reaction');
    return {};
  },
  'usergroups.list': ({ world }) => ({
    usergroups: [...world.userGroups].map(([id, users]) => ({ id, users: [...users] })),
  }),
  'users.info': ({ world }, parameters) => {
    const user = world.users.get(String(parameters['user'] ?? ''));
    if (user === undefined) throw new SlackError('user_not_found');
    return { user: { id: user.id, team_id: user.teamId, name: user.name, profile: { display_name: user.name } } };
  },
  'views.open': ({ world }, parameters) => {
    const trigger = world.triggers.get(String(parameters['trigger_id'] ?? ''));
    if (trigger === undefined) throw new SlackError('invalid_trigger_id');
    if (trigger.isUsed) throw new SlackError('exchanged_trigger_id');
    if (world.now() > trigger.expiresAt) throw new SlackError('expired_trigger_id');
    const view = checkView(parameters['view'], 'modal');
    trigger.isUsed = true;
    const id = world.nextId('V');
    const opened = { id, user: '', hash: world.nextId('H'), view };
    world.modals.set(id, opened);
    return { view: { id, hash: opened.hash } };
  },
  'views.publish': ({ world }, parameters) => {
    const user = String(parameters['user_id'] ?? '');
    if (!world.users.has(user)) throw new SlackError('user_not_found');
    const view = checkView(parameters['view'], 'home');
    const current = world.homes.get(user);
    const { hash } = parameters;
    if (hash !== undefined && current !== undefined && hash !== current.hash) throw new SlackError('hash_conflict');
    const published = { id: current?.id ?? world.nextId('V'), user, hash: world.nextId('H'), view };
    world.homes.set(user, published);
    return { view: { id: published.id, hash: published.hash } };
  },
};

function contentOf(context: MethodContext, parameters: Parameters) {
  const blocks = checkBlocks(parameters['blocks'], 'message', context);
  const text = String(parameters['text'] ?? '');
  if (text === '' && blocks.length === 0) throw new SlackError('no_text');
  const { metadata } = parameters;
  if (metadata !== undefined) checkMetadata(metadata);
  return {
    user: context.world.botUser,
    text: text.slice(0, textMax),
    blocks,
    metadata: metadata as Record<string, unknown> | undefined,
    options: Object.fromEntries(
      ['unfurl_links', 'unfurl_media', 'parse', 'link_names'].map((name) => [name, parameters[name]]),
    ),
  };
}

function reactedMessage(world: World, parameters: Parameters): FakeMessage {
  const message = world.channelFor(parameters['channel']).messages.get(String(parameters['timestamp'] ?? ''));
  if (message === undefined) throw new SlackError('message_not_found');
  return message;
}

function page(world: World, messages: readonly FakeMessage[], parameters: Parameters): Record<string, unknown> {
  const oldest = Number(parameters['oldest'] ?? 0);
  const visible = messages.filter(({ onlyFor, ts }) => onlyFor === undefined && Number(ts) > oldest);
  const start = Number(parameters['cursor'] ?? 0);
  const limit = Math.min(Number(parameters['limit'] ?? 100), 999);
  const next = start + limit < visible.length ? String(start + limit) : '';
  const withMetadata = String(parameters['include_all_metadata']) === 'true';
  return {
    messages: visible.slice(start, start + limit).map((message) => ({
      ...messageObject(world, message),
      ...(withMetadata && message.metadata !== undefined ? { metadata: message.metadata } : {}),
    })),
    has_more: next !== '',
    response_metadata: { next_cursor: next },
  };
}

/** A message as it stands in answers and events. */
export function messageObject(world: World, message: FakeMessage): Record<string, unknown> {
  return {
    type: 'message',
    ts: message.ts,
    user: message.user,
    text: message.text,
    team: world.teamId,
    ...(message.isBot ? { bot_id: world.botId, app_id: world.appId } : {}),
    ...(message.threadTs === undefined ? {} : { thread_ts: message.threadTs }),
    ...(message.blocks.length === 0 ? {} : { blocks: message.blocks }),
  };
}
