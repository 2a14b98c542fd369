import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';
import { z } from 'zod';
import type { Channel, ChannelHealth, CommandSpec, FormSpec, Ingest } from '#bots/channel.ts';
import type { InboundEvent } from '#core/inbox/inbound.ts';
import { aborted } from '#core/kit/aborted.ts';
import type { Db } from '#core/kit/database.ts';
import { AppError, isAppError } from '#core/kit/errors.ts';
import { toWellFormed } from '#core/kit/json.ts';
import type { Log } from '#core/kit/log.ts';
import type { ChannelCapabilities, MessageRef, SendFailure } from '#core/outbox/channel-sender.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import { type Conversation, threadKey } from '#core/sessions/origin.ts';
import { fitBody } from './fit-body.ts';
import { type HostedNote, hostedAccount } from './hosted-event.ts';
import { deleteMessages, editMessage, notifyFollowers, putMessage } from './hosted-store.ts';

/** Below the 8,000 bytes Postgres allows in a notification, with room for its own framing. */
const notePayloadBytesMax = 7_500;
/** The first moments of a gateway: its channels run as soon as it knows which of them are switched on. */
const startMs = 3000;

/** What every raw event of a channel of our own has; `key` is the client's and kept when it tries again. */
export interface HostedRaw {
  readonly kind: string;
  readonly key: string;
  readonly room: string;
  readonly thread?: string | undefined;
  readonly user: string;
}

/** What tells one channel of our own from another. */
export interface HostedKind<Raw extends HostedRaw> {
  readonly channel: string;
  readonly capabilities: ChannelCapabilities;
  /** Said by `health` while it runs. */
  readonly detail: string;
  /** Raw event to neutral events; pure, and empty for anything unknown. */
  normalise(raw: unknown): readonly InboundEvent[];
  /** What an event shows in the conversation at once; undefined for a press or a stop. */
  shown(raw: Raw): OutboundBody | undefined;
}

/**
 * A chat platform of our own (terminal, browser): messages are rows, followers learn of them by notification, and what
 * a person writes comes in through `submit`, called by the gateway.
 */
export class HostedChannel<Raw extends HostedRaw> implements Channel {
  readonly channel: string;
  readonly account = hostedAccount;
  readonly takesBlobs = true;
  readonly #kind: HostedKind<Raw>;
  readonly #db: Db;
  readonly #log: Log;
  #ingest: Ingest | undefined;
  #started = Promise.withResolvers<void>();
  #commands: readonly CommandSpec[] = [];
  readonly #inFlight = new Set<Promise<void>>();

  constructor(deps: { readonly db: Db; readonly log: Log }, kind: HostedKind<Raw>) {
    this.#db = deps.db;
    this.#log = deps.log;
    this.#kind = kind;
    this.channel = kind.channel;
  }

  /** The commands a client can complete. */
  get commands(): readonly CommandSpec[] {
    return this.#commands;
  }

  async run(ingest: Ingest, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    this.#ingest = ingest;
    this.#started.resolve();
    await aborted(signal);
    this.#ingest = undefined;
    this.#started = Promise.withResolvers();
    await Promise.allSettled(this.#inFlight);
  }

  /**
   * Stores what a person wrote or pressed; resolves after commit. A message is also shown to everyone who follows the
   * conversation, in the place it was said.
   * @throws AppError `channel.unavailable` while the channel is not running; what `ingest` throws.
   */
  async submit(raw: Raw): Promise<void> {
    const work = this.#store(raw);
    this.#inFlight.add(work);
    try {
      await work;
    } finally {
      this.#inFlight.delete(work);
    }
  }

  async #store(raw: Raw): Promise<void> {
    // The server listens a moment before its channels run: who writes at once is not turned away.
    if (this.#ingest === undefined)
      await Promise.race([this.#started.promise, delay(startMs, undefined, { ref: false })]);
    const ingest = this.#ingest;
    if (ingest === undefined) {
      throw new AppError('channel.unavailable', `The ${this.channel} channel is not running.`, {
        mend: 'Try again shortly.',
      });
    }
    const key = threadKey(hostedConversation(this.channel, raw));
    const body = this.#kind.shown(raw);
    // Shown first: routing starts at the commit, and an answer must not stand above its question.
    const isNew =
      body !== undefined &&
      (await putMessage(this.#db, { threadKey: key, messageId: raw.key, direction: 'in', author: raw.user, body }));
    try {
      await ingest([{ dedupKey: raw.key, raw }]);
    } catch (err) {
      // Not accepted, so not said; the client keeps its key and tries again.
      if (isNew) {
        await deleteMessages(this.#db, key, [raw.key]).catch((cause: unknown) =>
          this.#log.warn({ err: cause, channel: this.channel }, 'a refused message is still shown'),
        );
      }
      throw err;
    }
  }

  normalise(raw: unknown): readonly InboundEvent[] {
    return this.#kind.normalise(raw);
  }

  capabilities(_conversation: Conversation): ChannelCapabilities {
    return this.#kind.capabilities;
  }

  async send(conversation: Conversation, body: OutboundBody, outboxId: string): Promise<MessageRef> {
    await putMessage(this.#db, {
      threadKey: threadKey(conversation),
      messageId: outboxId,
      direction: 'out',
      body: this.#fit(body),
    });
    return { ids: [outboxId] };
  }

  async edit(conversation: Conversation, ref: MessageRef, body: OutboundBody, _outboxId: string): Promise<MessageRef> {
    const id = ref.ids[0];
    if (id === undefined || !(await editMessage(this.#db, threadKey(conversation), id, this.#fit(body)))) {
      throw new AppError('channel.rejected', 'The message to change is not in this conversation any more.', {
        details: { kind: 'gone' },
      });
    }
    return { ids: [id] };
  }

  #fit(body: OutboundBody): OutboundBody {
    return fitBody(body, this.#kind.capabilities.textMax);
  }

  async delete(conversation: Conversation, ref: MessageRef): Promise<void> {
    await deleteMessages(this.#db, threadKey(conversation), ref.ids);
  }

  async deleteMessage(conversation: Conversation, messageId: string): Promise<boolean> {
    await deleteMessages(this.#db, threadKey(conversation), [messageId]);
    return true;
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
      threadKey: threadKey(hostedConversation(this.channel, place)),
      actionId: place.key,
      ...(notice === undefined ? {} : { text: toWellFormed(notice.text).slice(0, 2_000), isAlert: notice.isAlert }),
    });
  }

  /** Shows a form to whoever made the request; only where `capabilities.modal` says so. */
  async openForm(token: string, form: FormSpec): Promise<boolean> {
    const place = readInteraction(token);
    if (place === undefined || !this.#kind.capabilities.modal) return false;
    const note: HostedNote = {
      kind: 'form',
      threadKey: threadKey(hostedConversation(this.channel, place)),
      actionId: place.key,
      form: { ...form, fields: form.fields.map((field) => ({ ...field })) },
    };
    if (bytes(note) > notePayloadBytesMax) return false;
    await notifyFollowers(this.#db, note);
    return true;
  }

  async registerCommands(commands: readonly CommandSpec[]): Promise<{ readonly changed: boolean }> {
    const changed = JSON.stringify(commands) !== JSON.stringify(this.#commands);
    this.#commands = commands;
    return { changed };
  }

  health(): ChannelHealth {
    return this.#ingest === undefined
      ? { state: 'disconnected', detail: 'not running' }
      : { state: 'connected', detail: this.#kind.detail };
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

/** The conversation a room name and an optional thread name stand for. */
export function hostedConversation(
  channel: string,
  place: { readonly room: string; readonly thread?: string | undefined },
): Conversation {
  return {
    channel,
    account: hostedAccount,
    room: place.room,
    ...(place.thread === undefined ? {} : { thread: place.thread }),
    kind: 'dm',
  };
}

const interactionSchema = z.object({ room: z.string(), thread: z.string().optional(), key: z.string() });

/** Where the answer to a button press goes: the token says it all, so nothing needs to be remembered. */
export function readInteraction(token: string): z.infer<typeof interactionSchema> | undefined {
  try {
    return interactionSchema.safeParse(JSON.parse(token)).data;
  } catch {
    return undefined;
  }
}

/** The interaction token of a raw event. */
export function writeInteraction(raw: HostedRaw): string {
  return JSON.stringify({ room: raw.room, thread: raw.thread, key: raw.key });
}

/** The newest part of a draft that fits into one notification. */
function fitDraft(key: string, draftId: number, markdown: string): HostedNote {
  const note = (tail: string): HostedNote => ({
    kind: 'draft',
    threadKey: key,
    draftId,
    markdown: tail,
    isTail: tail.length < markdown.length,
    from: markdown.length - tail.length,
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

function bytes(note: HostedNote): number {
  return Buffer.byteLength(JSON.stringify(note));
}
