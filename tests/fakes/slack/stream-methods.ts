import { checkMetadata, type Method, ownMessage, type Parameters, threadOf } from './method-support.ts';
import { SlackError } from './slack-error.ts';
import { checkBlocks } from './validate-blocks.ts';
import type { FakeMessage, World } from './world.ts';

const appendMax = 12_000;

/** Streamed messages, with the two limits that are not in the reference: five minutes and about 12,000 characters. */
export const streamMethods: Readonly<Record<string, Method>> = {
  'chat.startStream': ({ world }, parameters) => {
    const channel = world.channelFor(parameters['channel']);
    const threadTs = threadOf(channel, parameters);
    if (threadTs === undefined) throw new SlackError('invalid_thread_ts');
    if (String(parameters['markdown_text'] ?? '') === '') throw new SlackError('no_text');
    const isPrivate = channel.kind === 'im';
    if (
      !isPrivate &&
      (parameters['recipient_user_id'] === undefined || parameters['recipient_team_id'] === undefined)
    ) {
      throw new SlackError('missing_recipient');
    }
    const recipient = parameters['recipient_user_id'];
    if (recipient !== undefined && !world.users.has(String(recipient))) throw new SlackError('user_not_found');
    const message = world.addMessage(channel, {
      user: world.botUser,
      text: '',
      threadTs,
      stream: { startedAt: world.now(), chars: 0, isOpen: true },
    });
    grow(world, message, parameters);
    return { channel: channel.id, ts: message.ts };
  },
  'chat.appendStream': ({ world }, parameters) => {
    const { channel, message } = ownMessage(world, parameters, 'message_not_owned_by_app');
    if (parameters['markdown_text'] === undefined) throw new SlackError('no_text');
    requireOpen(world, message);
    grow(world, message, parameters);
    return { channel: channel.id, ts: message.ts };
  },
  'chat.stopStream': ({ world, knowsNewBlocks }, parameters) => {
    const { channel, message } = ownMessage(world, parameters, 'message_not_owned_by_app');
    const stream = requireOpen(world, message);
    grow(world, message, parameters);
    const blocks = checkBlocks(parameters['blocks'], 'message', { knowsNewBlocks });
    if (parameters['metadata'] !== undefined) {
      checkMetadata(parameters['metadata']);
      message.metadata = parameters['metadata'] as Record<string, unknown>;
    }
    message.blocks = [...message.blocks, ...blocks];
    stream.isOpen = false;
    return { channel: channel.id, ts: message.ts, message: { text: message.text } };
  },
};

/** @throws SlackError `message_not_in_streaming_state` after the end, which old age brings as well. */
function requireOpen(world: World, message: FakeMessage): NonNullable<FakeMessage['stream']> {
  const { stream } = message;
  if (stream !== undefined && world.now() - stream.startedAt >= world.limits.streamMs) stream.isOpen = false;
  if (stream?.isOpen !== true) throw new SlackError('message_not_in_streaming_state');
  return stream;
}

function grow(world: World, message: FakeMessage, parameters: Parameters): void {
  const text = parameters['markdown_text'];
  if (text === undefined || message.stream === undefined) return;
  const added = String(text);
  if (added.length > appendMax) throw new SlackError('msg_too_long');
  // Once over it, the message takes nothing any more, not even its end.
  message.stream.chars += added.length;
  if (message.stream.chars > world.limits.streamCharsMax) throw new SlackError('msg_too_long');
  message.text += added;
  message.editedAt = world.now();
}
