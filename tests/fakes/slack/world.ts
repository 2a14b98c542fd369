import { SlackError } from './slack-error.ts';

export type ChannelKind = 'im' | 'mpim' | 'channel' | 'group';

export interface FakeFile {
  readonly id: string;
  readonly name: string;
  readonly mime: string;
  bytes: Buffer;
  /** Shared from another workspace: events carry a stub only. */
  readonly isStub: boolean;
  isDeleted: boolean;
  /** Its content is elsewhere; nothing is served here. */
  readonly externalUrl?: string;
}

export interface FakeButton {
  readonly label: string;
  readonly actionId: string;
  readonly value?: string;
  readonly url?: string;
}

export interface FakeMessage {
  readonly ts: string;
  readonly channel: string;
  readonly threadTs: string | undefined;
  readonly user: string;
  readonly isBot: boolean;
  /** The only person who sees it. */
  readonly onlyFor: string | undefined;
  readonly sentAt: number;
  text: string;
  blocks: readonly Record<string, unknown>[];
  metadata: Record<string, unknown> | undefined;
  files: readonly FakeFile[];
  edits: number;
  editedAt: number | undefined;
  readonly reactions: Set<string>;
  /** Of a message that is streamed: since when, how much, and whether it was left broken. */
  stream: { readonly startedAt: number; chars: number; isOpen: boolean } | undefined;
  readonly options: Readonly<Record<string, unknown>>;
}

export interface FakeChannel {
  readonly id: string;
  readonly kind: ChannelKind;
  readonly name: string;
  readonly members: Set<string>;
  isArchived: boolean;
  readonly messages: Map<string, FakeMessage>;
}

export interface FakeUser {
  readonly id: string;
  readonly name: string;
  readonly teamId: string;
  isDeactivated: boolean;
}

export interface FakeView {
  readonly id: string;
  readonly user: string;
  hash: string;
  view: Record<string, unknown>;
}

interface ResponseUrl {
  readonly channel: string;
  readonly user: string;
  readonly threadTs: string | undefined;
  readonly expiresAt: number;
  uses: number;
}

/** Everything Slack limits by time or number; tests shorten the times. */
export interface FakeLimits {
  /** A stream ends by itself after this long, whatever happens. */
  readonly streamMs: number;
  readonly streamCharsMax: number;
  readonly triggerMs: number;
  readonly responseUses: number;
  readonly responseMs: number;
  /** An event that is not acknowledged by then comes again. */
  readonly ackMs: number;
  readonly retriesMax: number;
  /** Rate limits are enforced. */
  readonly hasRates: boolean;
}

export const realLimits: FakeLimits = {
  streamMs: 300_000,
  streamCharsMax: 12_000,
  triggerMs: 3_000,
  responseUses: 5,
  responseMs: 30 * 60_000,
  ackMs: 3_000,
  retriesMax: 3,
  hasRates: false,
};

/** One workspace with one app in it. */
export class World {
  readonly teamId = 'T0WORKSPACE';
  readonly appId = 'A0SWITCHYARD';
  readonly botUser = 'U0SWITCHYARD';
  readonly botId = 'B0SWITCHYARD';
  readonly users = new Map<string, FakeUser>();
  readonly channels = new Map<string, FakeChannel>();
  readonly files = new Map<string, FakeFile>();
  readonly uploads = new Map<string, FakeFile>();
  /** Open forms by view id, and home pages by user. */
  readonly modals = new Map<string, FakeView>();
  readonly homes = new Map<string, FakeView>();
  readonly triggers = new Map<string, { readonly expiresAt: number; isUsed: boolean }>();
  readonly responseUrls = new Map<string, ResponseUrl>();
  readonly userGroups = new Map<string, Set<string>>();
  /** What `assistant.threads.setStatus` said, newest last. */
  readonly statuses: {
    readonly channel: string;
    readonly threadTs: string;
    readonly status: string;
    readonly at: number;
  }[] = [];
  readonly limits: FakeLimits;
  readonly now: () => number;
  #lastMicros = 0;
  #counter = 1;

  constructor(limits: FakeLimits, now: () => number) {
    this.limits = limits;
    this.now = now;
    this.addUser(this.botUser, 'switchyard');
  }

  /** A new message time: unique, and later than any before. */
  nextTs(): string {
    this.#lastMicros = Math.max(this.#lastMicros + 1, Math.round(this.now() * 1_000));
    const digits = String(this.#lastMicros);
    return `${digits.slice(0, -6)}.${digits.slice(-6)}`;
  }

  nextId(prefix: string): string {
    this.#counter += 1;
    return `${prefix}${this.#counter.toString(36).toUpperCase().padStart(9, '0')}`;
  }

  addUser(id: string, name: string, teamId = this.teamId): FakeUser {
    const user: FakeUser = { id, name, teamId, isDeactivated: false };
    this.users.set(id, user);
    return user;
  }

  addChannel(id: string, kind: ChannelKind, name: string, members: readonly string[]): FakeChannel {
    const channel: FakeChannel = {
      id,
      kind,
      name,
      members: new Set(members),
      isArchived: false,
      messages: new Map(),
    };
    this.channels.set(id, channel);
    return channel;
  }

  /** The room of a person's direct messages with the bot. */
  openDm(user: string): FakeChannel {
    const id = `D${user.slice(1)}`;
    return this.channels.get(id) ?? this.addChannel(id, 'im', 'directmessage', [user, this.botUser]);
  }

  /** @throws SlackError as a bot gets it for a channel it cannot use. */
  channelFor(id: unknown, needsMembership = true): FakeChannel {
    const asked = String(id ?? '');
    const channel = this.channels.get(asked) ?? (this.users.has(asked) ? this.openDm(asked) : undefined);
    if (channel === undefined) throw new SlackError('channel_not_found');
    if (channel.isArchived) throw new SlackError('is_archived');
    const isMember = channel.members.has(this.botUser);
    if (!isMember && channel.kind === 'group') throw new SlackError('channel_not_found');
    if (!isMember && needsMembership) throw new SlackError('not_in_channel');
    const other = channel.kind === 'im' ? this.users.get(`U${channel.id.slice(1)}`) : undefined;
    if (other?.isDeactivated === true) throw new SlackError('user_disabled');
    return channel;
  }

  addMessage(
    channel: FakeChannel,
    message: Pick<FakeMessage, 'user' | 'text'> & Partial<Omit<FakeMessage, 'channel' | 'ts'>>,
  ): FakeMessage {
    const ts = this.nextTs();
    const added: FakeMessage = {
      ts,
      channel: channel.id,
      threadTs: undefined,
      isBot: message.user === this.botUser,
      onlyFor: undefined,
      sentAt: this.now(),
      blocks: [],
      metadata: undefined,
      files: [],
      edits: 0,
      editedAt: undefined,
      reactions: new Set(),
      stream: undefined,
      options: {},
      ...message,
    };
    channel.messages.set(ts, added);
    return added;
  }

  newTrigger(): string {
    const id = `${this.nextId('')}.${this.nextId('')}`;
    this.triggers.set(id, { expiresAt: this.now() + this.limits.triggerMs, isUsed: false });
    return id;
  }

  newResponseUrl(channel: string, user: string, threadTs: string | undefined): string {
    const id = this.nextId('R');
    this.responseUrls.set(id, {
      channel,
      user,
      threadTs,
      expiresAt: this.now() + this.limits.responseMs,
      uses: 0,
    });
    return id;
  }
}

/** The buttons of a message. */
export function buttonsOf(blocks: readonly Record<string, unknown>[]): FakeButton[] {
  return blocks.flatMap((block) =>
    block['type'] !== 'actions'
      ? []
      : (block['elements'] as Record<string, unknown>[]).map((element) => ({
          label: String((element['text'] as Record<string, unknown>)['text']),
          actionId: String(element['action_id']),
          ...(element['value'] === undefined ? {} : { value: String(element['value']) }),
          ...(element['url'] === undefined ? {} : { url: String(element['url']) }),
        })),
  );
}

/** All text a person reads in the blocks, or the plain text of a message without any. */
export function shownText(message: Pick<FakeMessage, 'text' | 'blocks' | 'stream'>): string {
  if (message.blocks.length === 0) return message.text;
  return message.blocks
    .map((block) => textOfBlock(block))
    .filter((text) => text !== '')
    .join('\n\n');
}

function textOfBlock(block: Record<string, unknown>): string {
  const texts: string[] = [];
  const walk = (value: unknown, key: string): void => {
    if (typeof value === 'string' && (key === 'text' || key === 'title')) texts.push(value);
    else if (Array.isArray(value)) for (const item of value) walk(item, key);
    else if (typeof value === 'object' && value !== null) {
      for (const [name, inner] of Object.entries(value)) walk(inner, name);
    }
  };
  if (block['type'] === 'actions') return '';
  if (block['type'] === 'markdown') return String(block['text']);
  walk(block, '');
  return texts.map((text) => text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&')).join('\n');
}
