import type {
  AnswerStream,
  ChannelCapabilities,
  ChannelSender,
  MessageRef,
  ReactionSign,
  SendFailure,
  SendProgress,
} from '#core/outbox/channel-sender.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import type { Conversation } from '#core/sessions/origin.ts';

/** One call of the product, as the platform saw it. */
export interface PlatformCall {
  readonly op: 'send' | 'edit' | 'delete' | 'draft' | 'typing' | 'open' | 'append' | 'react' | 'find';
  readonly room: string;
  readonly text: string;
  readonly at: number;
  readonly outboxId?: string;
  readonly ids?: readonly string[];
}

/** What a script makes of a call: nothing lets it pass. */
export type Script = (call: PlatformCall) => Promise<void> | void;

/** A platform that can edit and nothing else, without limits of time. */
export const plainCapabilities: ChannelCapabilities = {
  textMax: 4096,
  partsMax: 4,
  canEdit: true,
  canDelete: true,
  nativeStream: 'none',
  editIntervalMs: 0,
  sendIntervalMs: 0,
  buttonTokenBytesMax: 64,
  threads: 'none',
  modal: false,
  ephemeral: 'none',
  reactions: false,
  typingIntervalMs: 0,
  uploadBytesMax: 1000,
  downloadBytesMax: 0,
  buttonsPerRowMax: 8,
  commands: 'text',
  tables: 'code',
  progress: 'none',
  idempotentSend: 'none',
};

/** A failure the platform states by itself. */
export class PlatformFailure extends Error {
  readonly failure: SendFailure;
  constructor(failure: Partial<SendFailure> & Pick<SendFailure, 'kind'>) {
    super(failure.kind);
    this.failure = { reason: 'as planned', ...failure };
  }
}

/**
 * A platform in memory behind the port `ChannelSender`, for what the engine does with it. Every platform message holds
 * one paragraph of a text, so that a body of several paragraphs is posted in parts.
 */
export class ScriptedPlatform implements ChannelSender {
  readonly channel = 'telegram';
  readonly account = '7';
  readonly calls: PlatformCall[] = [];
  /** What stands in the chats, by platform id. */
  readonly messages = new Map<string, { room: string; text: string; outboxId: string }>();
  script: Script = () => {};
  readonly #capabilities: Partial<ChannelCapabilities>;
  #nextId = 1;

  constructor(capabilities: Partial<ChannelCapabilities> = {}) {
    this.#capabilities = capabilities;
  }

  capabilities(): ChannelCapabilities {
    return { ...plainCapabilities, ...this.#capabilities };
  }

  callsOf(op: PlatformCall['op']): PlatformCall[] {
    return this.calls.filter((call) => call.op === op);
  }

  /** The texts of a room, in the order they were posted. */
  textsIn(room: string): string[] {
    return [...this.messages.values()].filter((message) => message.room === room).map((message) => message.text);
  }

  async send(
    conversation: Conversation,
    body: OutboundBody,
    outboxId: string,
    progress?: SendProgress,
  ): Promise<MessageRef> {
    const ids = [...(progress?.posted ?? [])];
    for (const text of paragraphs(body).slice(ids.length)) {
      const id = await this.#post(conversation, text, outboxId);
      await progress?.onPosted(id);
      ids.push(id);
    }
    return { ids };
  }

  async edit(
    conversation: Conversation,
    ref: MessageRef,
    body: OutboundBody,
    outboxId: string,
    progress?: SendProgress,
  ): Promise<MessageRef> {
    const texts = paragraphs(body);
    const ids = [...ref.ids];
    for (const [index, text] of texts.entries()) {
      const id = ids[index];
      if (id === undefined) {
        const posted = await this.#post(conversation, text, outboxId);
        await progress?.onPosted(posted);
        ids.push(posted);
        continue;
      }
      await this.#note({ op: 'edit', room: conversation.room, text, outboxId, ids: [id] });
      const message = this.messages.get(id);
      if (message === undefined) throw new PlatformFailure({ kind: 'gone' });
      message.text = text;
    }
    return { ids };
  }

  async delete(conversation: Conversation, ref: MessageRef): Promise<void> {
    await this.#note({ op: 'delete', room: conversation.room, text: '', ids: ref.ids });
    for (const id of ref.ids) this.messages.delete(id);
  }

  async draft(conversation: Conversation, _draftId: number, markdown: string): Promise<void> {
    await this.#note({ op: 'draft', room: conversation.room, text: markdown });
  }

  async typing(conversation: Conversation): Promise<void> {
    await this.#note({ op: 'typing', room: conversation.room, text: '' });
  }

  async openStream(conversation: Conversation): Promise<AnswerStream> {
    await this.#note({ op: 'open', room: conversation.room, text: '' });
    const id = this.#take(conversation, '', 'stream');
    return {
      ref: { ids: [id] },
      append: async (markdown) => {
        await this.#note({ op: 'append', room: conversation.room, text: markdown, ids: [id] });
        const message = this.messages.get(id);
        if (message !== undefined) message.text += markdown;
      },
    };
  }

  async react(conversation: Conversation, messageId: string, sign: ReactionSign | undefined): Promise<void> {
    await this.#note({ op: 'react', room: conversation.room, text: sign ?? '', ids: [messageId] });
  }

  async findSent(conversation: Conversation, outboxId: string): Promise<MessageRef | undefined> {
    await this.#note({ op: 'find', room: conversation.room, text: '', outboxId });
    const ids = [...this.messages].filter(([, message]) => message.outboxId === outboxId).map(([id]) => id);
    return ids.length === 0 ? undefined : { ids };
  }

  classify(err: unknown): SendFailure {
    return err instanceof PlatformFailure ? err.failure : { kind: 'bad_format', reason: String(err) };
  }

  async #post(conversation: Conversation, text: string, outboxId: string): Promise<string> {
    const known = [...this.messages].find(
      ([, message]) =>
        message.outboxId === outboxId && message.text === text && this.#capabilities.idempotentSend === 'nonce',
    );
    await this.#note({ op: 'send', room: conversation.room, text, outboxId });
    return known?.[0] ?? this.#take(conversation, text, outboxId);
  }

  /** Puts a message into a room, as a call does that takes effect. */
  #take({ room }: Conversation, text: string, outboxId: string): string {
    const id = String(this.#nextId);
    this.#nextId += 1;
    this.messages.set(id, { room, text, outboxId });
    return id;
  }

  /** Takes effect although the product never hears of it. */
  takeUnheard(room: string, text: string, outboxId: string): void {
    this.#take({ channel: this.channel, account: this.account, room, kind: 'dm' }, text, outboxId);
  }

  async #note(call: Omit<PlatformCall, 'at'>): Promise<void> {
    const noted = { ...call, at: performance.now() };
    this.calls.push(noted);
    await this.script(noted);
  }
}

function paragraphs(body: OutboundBody): string[] {
  return body.parts.flatMap((part) => {
    if (part.type === 'progress') {
      return [[part.title, ...part.tasks.map((task) => `${task.state} ${task.title}`)].join('\n')];
    }
    return 'markdown' in part ? part.markdown.split('\n\n') : [];
  });
}
