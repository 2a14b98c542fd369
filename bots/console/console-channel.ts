import { inspect } from 'node:util';
import type { Channel, ChannelHealth, CommandSpec, Ingest } from '#bots/channel.ts';
import type { InboundEvent } from '#core/inbox/inbound.ts';
import { aborted } from '#core/kit/aborted.ts';
import type { Db } from '#core/kit/database.ts';
import { AppError, isAppError } from '#core/kit/errors.ts';
import { toWellFormed } from '#core/kit/json.ts';
import type { Log } from '#core/kit/log.ts';
import type { ChannelCapabilities, MessageRef, SendFailure } from '#core/outbox/channel-sender.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import { type Conversation, threadKey } from '#core/sessions/origin.ts';
import { type ConsoleNote, consoleAccount } from './console-event.ts';
import { type ConsoleRaw, consoleConversation, normaliseConsole, readInteraction } from './console-raw.ts';
import { deleteMessages, editMessage, notifyFollowers, putMessage } from './console-store.ts';
import { fitBody, textMax, tokenBytesMax } from './fit-body.ts';

/** Below the 8,000 bytes Postgres allows in a notification, with room for its own framing. */
const notePayloadBytesMax = 7_500;

const capabilities: ChannelCapabilities = {
  textMax,
  partsMax: 1,
  canEdit: true,
  canDelete: true,
  nativeStream: 'draft',
  // Ten redraws a second read as continuous writing in a terminal.
  editIntervalMs: 100,
  sendIntervalMs: 0,
  buttonTokenBytesMax: tokenBytesMax,
  threads: 'thread',
  modal: false,
  ephemeral: 'interaction',
  reactions: false,
  typingIntervalMs: 4_000,
  uploadBytesMax: 10_000_000,
  downloadBytesMax: 0,
  buttonsPerRowMax: 10,
  commands: 'text',
  tables: 'native',
  progress: 'edited-message',
  // Our own table: the outbox id is the key of the row.
  idempotentSend: 'nonce',
};

/**
 * The terminal as a chat platform: messages are rows, followers learn of them by notification, and what a person writes
 * comes in through `submit`, called by the gateway's console API.
 */
export class ConsoleChannel implements Channel {
  readonly channel = 'console';
  readonly account = consoleAccount;
  readonly #db: Db;
  readonly #log: Log;
  #ingest: Ingest | undefined;
  #commands: readonly CommandSpec[] = [];
  readonly #inFlight = new Set<Promise<void>>();

  constructor(deps: { readonly db: Db; readonly log: Log }) {
    this.#db = deps.db;
    this.#log = deps.log;
  }

  /** The commands a terminal can complete. */
  get commands(): readonly CommandSpec[] {
    return this.#commands;
  }

  async run(ingest: Ingest, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    this.#ingest = ingest;
    await aborted(signal);
    this.#ingest = undefined;
    await Promise.allSettled(this.#inFlight);
  }

  /**
   * Stores what a person wrote or pressed; resolves after commit. A message is also shown to everyone who follows the
   * conversation, in the place it was said.
   * @throws AppError `channel.unavailable` while the channel is not running; what `ingest` throws.
   */
  async submit(raw: ConsoleRaw): Promise<void> {
    const work = this.#store(raw);
    this.#inFlight.add(work);
    try {
      await work;
    } finally {
      this.#inFlight.delete(work);
    }
  }

  async #store(raw: ConsoleRaw): Promise<void> {
    const ingest = this.#ingest;
    if (ingest === undefined) {
      throw new AppError('channel.unavailable', 'The console channel is not running.', { mend: 'Try again shortly.' });
    }
    const key = threadKey(consoleConversation(raw));
    // Shown first: routing starts at the commit, and an answer must not stand above its question.
    const isNew =
      raw.kind === 'message' &&
      (await putMessage(this.#db, {
        threadKey: key,
        messageId: raw.key,
        direction: 'in',
        author: raw.user,
        body: { parts: [{ type: 'markdown', markdown: raw.text }] },
      }));
    try {
      await ingest([{ dedupKey: raw.key, raw }]);
    } catch (err) {
      // Not accepted, so not said; the client keeps its key and tries again.
      if (isNew) {
        await deleteMessages(this.#db, key, [raw.key]).catch((cause: unknown) =>
          this.#log.warn({ err: cause }, 'a refused console message is still shown'),
        );
      }
      throw err;
    }
  }

  normalise(raw: unknown): readonly InboundEvent[] {
    return normaliseConsole(raw);
  }

  capabilities(_conversation: Conversation): ChannelCapabilities {
    return capabilities;
  }

  async send(conversation: Conversation, body: OutboundBody, outboxId: string): Promise<MessageRef> {
    await putMessage(this.#db, {
      threadKey: threadKey(conversation),
      messageId: outboxId,
      direction: 'out',
      body: fitBody(body),
    });
    return { ids: [outboxId] };
  }

  async edit(conversation: Conversation, ref: MessageRef, body: OutboundBody, _outboxId: string): Promise<MessageRef> {
    const id = ref.ids[0];
    if (id === undefined || !(await editMessage(this.#db, threadKey(conversation), id, fitBody(body)))) {
      throw new AppError('channel.rejected', 'The message to change is not in this conversation any more.', {
        details: { kind: 'gone' },
      });
    }
    return { ids: [id] };
  }

  async delete(conversation: Conversation, ref: MessageRef): Promise<void> {
    await deleteMessages(this.#db, threadKey(conversation), ref.ids);
  }

  async draft(conversation: Conversation, draftId: number, markdown: string): Promise<void> {
    await notifyFollowers(this.#db, fitDraft(threadKey(conversation), draftId, toWellFormed(markdown)));
  }

  async typing(conversation: Conversation): Promise<void> {
    await notifyFollowers(this.#db, { kind: 'typing', threadKey: threadKey(conversation) });
  }

  async acknowledge(token: string, notice?: { readonly text: string; readonly isAlert: boolean }): Promise<void> {
    const place = readInteraction(token);
    if (place === undefined) return;
    await notifyFollowers(this.#db, {
      kind: 'ack',
      threadKey: threadKey(consoleConversation(place)),
      actionId: place.key,
      ...(notice === undefined ? {} : { text: toWellFormed(notice.text).slice(0, 2_000), isAlert: notice.isAlert }),
    });
  }

  async registerCommands(commands: readonly CommandSpec[]): Promise<{ readonly changed: boolean }> {
    const changed = JSON.stringify(commands) !== JSON.stringify(this.#commands);
    this.#commands = commands.map(({ name, description }) => ({ name, description }));
    return { changed };
  }

  health(): ChannelHealth {
    return this.#ingest === undefined
      ? { state: 'disconnected', detail: 'not running' }
      : { state: 'connected', detail: 'terminals may connect' };
  }

  classify(error: unknown): SendFailure {
    const reason = (error instanceof Error ? error.message : inspect(error, { depth: 0 })) || 'no reason was given';
    if (isAppError(error, 'message.too_large')) return { kind: 'too_big', reason };
    if (isAppError(error, 'channel.rejected')) {
      return { kind: error.details['kind'] === 'gone' ? 'gone' : 'bad_format', reason };
    }
    // Class 22: Postgres refuses the data itself. Everything else passes, and a repeated send is recognised.
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    return code.startsWith('22') ? { kind: 'bad_format', reason } : { kind: 'retry', afterMs: 1_000, reason };
  }
}

/** The newest part of a draft that fits into one notification. */
function fitDraft(key: string, draftId: number, markdown: string): ConsoleNote {
  const note = (tail: string): ConsoleNote => ({
    kind: 'draft',
    threadKey: key,
    draftId,
    markdown: tail,
    isTail: tail.length < markdown.length,
  });
  let tail = markdown.slice(-notePayloadBytesMax);
  let excess = bytes(note(tail)) - notePayloadBytesMax;
  while (excess > 0) {
    // A UTF-16 unit takes at most 6 bytes as JSON, so this never cuts more than needed by more than a few steps.
    tail = tail.slice(Math.max(1, Math.ceil(excess / 6)));
    excess = bytes(note(tail)) - notePayloadBytesMax;
  }
  // A pair that was cut in half leaves a lone low surrogate in front.
  return note(/^[\uDC00-\uDFFF]/.test(tail) ? tail.slice(1) : tail);
}

function bytes(note: ConsoleNote): number {
  return Buffer.byteLength(JSON.stringify(note));
}
