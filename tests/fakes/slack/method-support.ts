import { SlackError } from './slack-error.ts';
import type { FakeChannel, FakeMessage, World } from './world.ts';

/** What the methods read and change besides the world. */
export interface MethodContext {
  readonly world: World;
  /** Where uploads and files are served. */
  readonly baseUrl: string;
  /** Whether the workspace knows the blocks of 2026. */
  readonly knowsNewBlocks: boolean;
  /** Told about a file message, which Slack posts a little later. */
  readonly onFileShared: (message: FakeMessage) => void;
}

export type Parameters = Readonly<Record<string, unknown>>;
export type Method = (context: MethodContext, parameters: Parameters) => Record<string, unknown>;

export function checkMetadata(value: unknown): void {
  const { event_type: type, event_payload: payload } = (value ?? {}) as Record<string, unknown>;
  if (typeof type !== 'string' || typeof payload !== 'object') throw new SlackError('invalid_metadata_format');
}

export function threadOf(channel: FakeChannel, parameters: Parameters): string | undefined {
  const thread = parameters['thread_ts'];
  if (thread === undefined) return undefined;
  const root = channel.messages.get(String(thread));
  // Slack lets a reply be posted below a message that was deleted meanwhile; only a time that never was is refused.
  if (root === undefined && !/^\d{9,11}\.\d{6}$/.test(String(thread))) throw new SlackError('thread_not_found');
  return root?.threadTs ?? String(thread);
}

export function ownMessage(
  world: World,
  parameters: Parameters,
  foreign: string,
): { readonly channel: FakeChannel; readonly message: FakeMessage } {
  const channel = world.channelFor(parameters['channel']);
  const message = channel.messages.get(String(parameters['ts'] ?? ''));
  if (message === undefined || message.onlyFor !== undefined) throw new SlackError('message_not_found');
  if (!message.isBot) throw new SlackError(foreign);
  return { channel, message };
}
