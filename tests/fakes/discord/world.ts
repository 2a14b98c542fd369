/** What the fake knows: people, servers, channels, messages, interactions. Wire shapes are made by `wire.ts`. */
export interface FakeUser {
  readonly id: string;
  readonly username: string;
  readonly isBot: boolean;
}

export interface FakeFile {
  readonly id: string;
  readonly name: string;
  readonly mime: string;
  readonly bytes: Buffer;
}

export interface FakeMessage {
  readonly id: string;
  readonly channelId: string;
  readonly author: FakeUser;
  readonly type: number;
  readonly nonce: string | undefined;
  readonly replyTo: string | undefined;
  readonly webhookId: string | undefined;
  /** The interaction it answers. */
  readonly interactionId: string | undefined;
  /** Who alone sees it. */
  readonly onlyFor: string | undefined;
  /** Milliseconds since the epoch with fractions, for latency measurements. */
  readonly sentAt: number;
  readonly snapshot: { readonly content: string } | undefined;
  content: string;
  components: readonly unknown[];
  files: readonly FakeFile[];
  flags: number;
  /** Whom the server made a sound for. */
  pings: readonly string[];
  reactions: Map<string, Set<string>>;
  editedAt: number | undefined;
  edits: number;
}

export interface FakeChannel {
  readonly id: string;
  /** 0 text, 1 private, 3 private group, 11 thread, 15 forum. */
  readonly type: number;
  readonly name: string;
  readonly guildId: string | undefined;
  readonly parentId: string | undefined;
  readonly ownerId: string | undefined;
  /** The person of a private channel. */
  readonly recipientId: string | undefined;
  readonly messages: Map<string, FakeMessage>;
  readonly typing: number[];
  lastMessageId: string | undefined;
  isArchived: boolean;
  isLocked: boolean;
  /** What the bot may do there. */
  canView: boolean;
  canSend: boolean;
  canThread: boolean;
}

export interface FakeGuild {
  readonly id: string;
  readonly name: string;
  /** Role ids by member. */
  readonly members: Map<string, readonly string[]>;
  hasBot: boolean;
  joinedAt: string;
}

export interface FakeInteraction {
  readonly id: string;
  readonly token: string;
  /** 2 command, 3 press, 4 typing, 5 form. */
  readonly type: number;
  readonly channelId: string;
  readonly userId: string;
  /** The message a button or a form belongs to. */
  readonly messageId: string | undefined;
  at: number;
  /** Milliseconds until the first answer. */
  answeredAfterMs: number | undefined;
  state: 'open' | 'answered';
  /** Kind of the first answer. */
  answer: number | undefined;
  originalId: string | undefined;
  modal: Readonly<Record<string, unknown>> | undefined;
  choices: readonly string[] | undefined;
}

export interface FakeCommand {
  readonly id: string;
  readonly type: number;
  readonly name: string;
  readonly body: Readonly<Record<string, unknown>>;
}

export const flagBits = {
  suppressEmbeds: 1 << 2,
  ephemeral: 1 << 6,
  loading: 1 << 7,
  suppressNotifications: 1 << 12,
  componentsV2: 1 << 15,
} as const;

const epochMs = 1_420_070_400_000n;
let lastTick = 0n;

/** A new id; later ids are larger, and carry the time as Discord's do. */
export function snowflake(atMs: number = Date.now()): string {
  const tick = (BigInt(Math.floor(atMs)) - epochMs) << 22n;
  lastTick = tick > lastTick ? tick : lastTick + 1n;
  return String(lastTick);
}

/** Now, in milliseconds with fractions. */
export function preciseNow(): number {
  return performance.timeOrigin + performance.now();
}

/** Everything there is, and who the bot is in it. */
export class World {
  readonly bot: FakeUser;
  readonly applicationId: string;
  readonly users = new Map<string, FakeUser>();
  readonly guilds = new Map<string, FakeGuild>();
  readonly channels = new Map<string, FakeChannel>();
  readonly interactions = new Map<string, FakeInteraction>();
  readonly files = new Map<string, FakeFile>();
  /** Messages by author and nonce, for repeated sends. */
  readonly nonces = new Map<string, FakeMessage>();
  /** People who do not take messages from the bot. */
  readonly closedTo = new Set<string>();
  commands: FakeCommand[] = [];
  commandWrites = 0;
  /** Message Content is allowed, as for a bot in few servers. */
  applicationFlags = 1 << 19;

  constructor(bot: FakeUser) {
    this.bot = bot;
    this.applicationId = bot.id;
    this.users.set(bot.id, bot);
  }

  addChannel(channel: Pick<FakeChannel, 'id' | 'type' | 'name'> & Partial<FakeChannel>): FakeChannel {
    const made: FakeChannel = {
      guildId: undefined,
      parentId: undefined,
      ownerId: undefined,
      recipientId: undefined,
      messages: new Map(),
      typing: [],
      lastMessageId: undefined,
      isArchived: false,
      isLocked: false,
      canView: true,
      canSend: true,
      canThread: true,
      ...channel,
    };
    this.channels.set(made.id, made);
    return made;
  }

  /** The private channel with a person, made at the first time. */
  dmWith(userId: string): FakeChannel {
    for (const channel of this.channels.values()) if (channel.recipientId === userId) return channel;
    return this.addChannel({ id: snowflake(), type: 1, name: '', recipientId: userId });
  }

  addMessage(
    channel: FakeChannel,
    message: Pick<FakeMessage, 'author'> & Partial<Omit<FakeMessage, 'channelId'>>,
  ): FakeMessage {
    const made: FakeMessage = {
      id: snowflake(),
      channelId: channel.id,
      type: message.replyTo === undefined ? 0 : 19,
      nonce: undefined,
      replyTo: undefined,
      webhookId: undefined,
      interactionId: undefined,
      onlyFor: undefined,
      sentAt: preciseNow(),
      snapshot: undefined,
      content: '',
      components: [],
      files: [],
      flags: 0,
      pings: [],
      reactions: new Map(),
      editedAt: undefined,
      edits: 0,
      ...message,
    };
    channel.messages.set(made.id, made);
    if (made.onlyFor === undefined) channel.lastMessageId = made.id;
    for (const file of made.files) this.files.set(file.id, file);
    return made;
  }
}
