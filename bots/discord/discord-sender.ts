import { createHash } from 'node:crypto';
import type { Clock } from '#core/kit/clock.ts';
import type { Log } from '#core/kit/log.ts';
import type { ChannelCapabilities, MessageRef, ReactionSign, SendProgress } from '#core/outbox/channel-sender.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import type { DiscordApi } from './discord-api.ts';
import { classifyDiscordError, codeOf, codes, DiscordFailure, toChannelError } from './discord-errors.ts';
import { type InteractionRef, isAlive, unpackInteraction } from './interaction-ref.ts';
import { isTooLate, type MessagePayload, replyToInteraction } from './interaction-reply.ts';
import { parseId, type SentId, writeId } from './message-id.ts';
import {
  buttonsPerRowMax,
  buttonTokenBytesMax,
  flags,
  partsMax,
  renderBody,
  textMax,
  type Unit,
  uploadBytesMax,
} from './render-body.ts';

/** Names of threads hold 100 characters. */
const threadNameMax = 100;
/** Things remembered to save calls; forgetting one costs a call. */
const rememberedMax = 5_000;

const reactionEmoji: Readonly<Record<ReactionSign, string>> = { seen: '👀', working: '⏳', done: '✅', failed: '❌' };

/** The sending half of the Discord channel. */
export class DiscordSender {
  readonly #api: DiscordApi;
  readonly #log: Log;
  readonly #clock: Clock;
  /** Messages that are cards, which Discord does not turn back into text. */
  readonly #cards = new Remembered<true>();
  /** How often an outbox entry was begun anew, because the message it had was deleted. */
  readonly #restarts = new Remembered<number>();
  readonly #signs = new Remembered<ReactionSign>();

  constructor(deps: { readonly api: DiscordApi; readonly log: Log; readonly clock: Clock }) {
    this.#api = deps.api;
    this.#log = deps.log;
    this.#clock = deps.clock;
  }

  capabilities(conversation: Conversation): ChannelCapabilities {
    const isPrivate = conversation.kind === 'dm';
    return {
      textMax,
      partsMax,
      canEdit: true,
      canDelete: true,
      nativeStream: 'none',
      // Channels take about five messages or edits in five seconds; the true limits are in the answers' headers.
      editIntervalMs: 1_500,
      sendIntervalMs: 250,
      pacedPer: 'thread',
      // The global limit is 50 calls a second for the whole bot; typing signs and reactions count too.
      budgets: { any: { count: 40, perMs: 1_000 }, react: { count: 5, perMs: 1_000 } },
      buttonTokenBytesMax,
      threads: isPrivate ? 'none' : 'thread',
      modal: true,
      ephemeral: 'interaction',
      reactions: true,
      // The sign lasts ten seconds.
      typingIntervalMs: 8_000,
      uploadBytesMax,
      downloadBytesMax: 25 * 1024 * 1024,
      buttonsPerRowMax,
      commands: 'everywhere',
      tables: 'code',
      progress: 'card',
      idempotentSend: 'nonce',
      // "Within a few minutes" the same nonce gives the message that is there.
      nonceMs: 120_000,
    };
  }

  /** @throws AppError `channel.*`, to be read with `classifyDiscordError`. */
  async send(
    conversation: Conversation,
    body: OutboundBody,
    outboxId: string,
    progress?: SendProgress,
  ): Promise<MessageRef> {
    const units = renderBody(body);
    const ids: string[] = [...(progress?.posted ?? [])];
    const place = await this.#placeFor(conversation, body, ids);
    try {
      for (const [index, unit] of units.entries()) {
        if (index < ids.length) continue;
        const id = await this.#post(place, unit, body, outboxId, index);
        ids.push(id);
        await progress?.onPosted(id);
      }
    } catch (err) {
      throw toChannelError(err);
    }
    return { ids };
  }

  /**
   * Texts are edited in place, files replaced in place, missing messages are added and surplus ones deleted.
   * @throws AppError `channel.*`; kind `gone` when the first message no longer exists: then nothing of it is left.
   */
  async edit(
    conversation: Conversation,
    ref: MessageRef,
    body: OutboundBody,
    outboxId: string,
    progress?: SendProgress,
  ): Promise<MessageRef> {
    const old = ref.ids.map(parseId);
    const oldTexts = old.filter(({ isFile }) => !isFile);
    const oldFiles = old.filter(({ isFile }) => isFile);
    const units = renderBody(body, { asCard: oldTexts.some(({ id }) => this.#cards.get(id) === true) });
    const elsewhere = oldTexts[0]?.channelId;
    const place: Place = {
      channelId: elsewhere ?? channelOf(conversation),
      isElsewhere: elsewhere !== undefined,
      interaction: undefined,
    };
    const texts: string[] = [];
    const files: string[] = [];
    try {
      for (const [index, unit] of units.entries()) {
        const isFile = unit.kind === 'file';
        const list = isFile ? files : texts;
        const known = (isFile ? oldFiles : oldTexts)[list.length];
        const edited =
          known === undefined ? undefined : await this.#editUnit(conversation, known, unit, body, index === 0);
        if (edited !== undefined) {
          list.push(edited);
          continue;
        }
        const id = await this.#post(place, unit, body, outboxId, index);
        list.push(id);
        await progress?.onPosted(id);
      }
    } catch (err) {
      if (classifyDiscordError(err).kind === 'gone') {
        // The caller posts it anew. Discord would recognise the old nonce and show nothing.
        this.#restarts.set(outboxId, (this.#restarts.get(outboxId) ?? 0) + 1);
        await this.#discard(conversation, ref.ids);
      }
      throw toChannelError(err);
    }
    await this.#discard(conversation, [
      ...oldTexts.slice(texts.length).map(writeId),
      ...oldFiles.slice(files.length).map(writeId),
    ]);
    return { ids: [...texts, ...files] };
  }

  async delete(conversation: Conversation, ref: MessageRef): Promise<void> {
    for (const sent of ref.ids.map(parseId)) {
      // What only one person saw is gone with their next restart, and out of our reach.
      if (sent.isEphemeral) continue;
      try {
        await this.#api.deleteMessage(sent.channelId ?? channelOf(conversation), sent.id);
      } catch (err) {
        if (classifyDiscordError(err).kind !== 'gone') throw toChannelError(err);
      }
    }
  }

  async typing(conversation: Conversation): Promise<void> {
    try {
      await this.#api.typing(channelOf(conversation));
    } catch (err) {
      this.#log.debug({ reason: classifyDiscordError(err).reason }, 'typing was not shown');
    }
  }

  async react(conversation: Conversation, messageId: string, sign: ReactionSign | undefined): Promise<void> {
    // The message a thread began with stands in the channel around it.
    const channelId = messageId === conversation.thread ? conversation.room : channelOf(conversation);
    const before = this.#signs.get(messageId);
    const stale: readonly ReactionSign[] =
      before === undefined ? (sign === 'seen' ? [] : ['seen', 'working']) : [before];
    try {
      if (sign !== undefined && sign !== before) await this.#api.addReaction(channelId, messageId, reactionEmoji[sign]);
      for (const old of stale) {
        if (old !== sign) await this.#api.removeReaction(channelId, messageId, reactionEmoji[old]);
      }
      if (sign === undefined) this.#signs.delete(messageId);
      else this.#signs.set(messageId, sign);
    } catch (err) {
      this.#log.debug({ reason: classifyDiscordError(err).reason }, 'sign was not shown');
    }
  }

  /** @throws AppError `channel.*`. */
  async startThread(
    conversation: Conversation,
    options: { readonly title: string; readonly key: string; readonly messageId?: string },
  ): Promise<Conversation | undefined> {
    if (conversation.kind === 'dm' || conversation.thread !== undefined) return undefined;
    const name = options.title.replace(/\s+/g, ' ').trim().toWellFormed().slice(0, threadNameMax).toWellFormed() || '…';
    try {
      const anchor = options.messageId ?? (await this.#postAnchor(conversation, name, options.key));
      return { ...conversation, thread: await this.#threadBelow(conversation.room, anchor, name) };
    } catch (err) {
      const { code } = err instanceof DiscordFailure ? err : { code: 0 };
      // Rooms without threads, and rooms where we may not open one: the work goes on in the room itself.
      if (roomsWithoutThreads.has(code)) return undefined;
      throw toChannelError(err);
    }
  }

  async #postAnchor(conversation: Conversation, name: string, key: string): Promise<string> {
    const content = renderBody({
      parts: [{ type: 'markdown', markdown: `**${name.replace(/[*_~`|\\<]/g, '')}**` }],
    })[0];
    const message = await this.#api.createMessage(conversation.room, {
      content: content?.kind === 'text' ? content.content : name,
      flags: flags.suppressEmbeds,
      allowed_mentions: { parse: [] },
      nonce: nonceOf(key, 0, 0),
      enforce_nonce: true,
    });
    return message.id;
  }

  async #threadBelow(room: string, messageId: string, name: string): Promise<string> {
    try {
      return await this.#api.startThread(room, messageId, name);
    } catch (err) {
      // A thread has the id of the message it began with.
      if (codeOf(err) === codes.threadExists) return messageId;
      throw err;
    }
  }

  /** Where the messages of a new body go: an interaction, the person's private channel, or the conversation. */
  async #placeFor(conversation: Conversation, body: OutboundBody, posted: readonly string[]): Promise<Place> {
    const channelId = posted.map(parseId).find((sent) => sent.channelId !== undefined)?.channelId;
    if (channelId !== undefined) return { channelId, isElsewhere: true, interaction: undefined };
    const ref = body.interactionToken === undefined ? undefined : unpackInteraction(body.interactionToken);
    const interaction = ref !== undefined && isAlive(ref, this.#clock.now().getTime()) ? ref : undefined;
    if (interaction === undefined && body.ephemeralTo !== undefined && conversation.kind !== 'dm') {
      const dm = await this.#dmWith(body.ephemeralTo);
      if (dm !== undefined) return { channelId: dm, isElsewhere: true, interaction: undefined };
    }
    return { channelId: channelOf(conversation), isElsewhere: false, interaction };
  }

  /** @returns undefined when this person cannot be written to in private. */
  async #dmWith(userId: string): Promise<string | undefined> {
    if (!/^\d{1,20}$/.test(userId)) return undefined;
    try {
      return await this.#api.openDm(userId);
    } catch (err) {
      const { kind } = classifyDiscordError(err);
      if (kind === 'unreachable' || kind === 'bad_format' || kind === 'gone') return undefined;
      throw toChannelError(err);
    }
  }

  async #post(place: Place, unit: Unit, body: OutboundBody, outboxId: string, index: number): Promise<string> {
    const { interaction } = place;
    if (interaction === undefined) return await this.#postToChannel(place, unit, body, outboxId, index);
    const isEphemeral = body.ephemeralTo !== undefined;
    if (!isEphemeral && (index > 0 || unit.kind === 'file')) {
      try {
        return await this.#postToChannel(place, unit, body, outboxId, index);
      } catch (err) {
        // Where the bot is not a member, it may only speak through the interaction.
        if (classifyDiscordError(err).kind !== 'unreachable') throw err;
      }
    }
    try {
      const payload = payloadOf(unit, body, isEphemeral ? flags.ephemeral : 0);
      const id =
        index === 0 && unit.kind !== 'file'
          ? await replyToInteraction(this.#api, interaction, payload)
          : await this.#followUp(interaction, unit, payload);
      if (unit.kind === 'card') this.#cards.set(id, true);
      return writeId({ id, isFile: unit.kind === 'file', isEphemeral, channelId: undefined });
    } catch (err) {
      if (!isTooLate(err)) throw err;
      this.#log.debug({ reason: classifyDiscordError(err).reason }, 'interaction cannot be answered any more');
      return await this.#postToChannel(place, unit, body, outboxId, index);
    }
  }

  async #followUp(interaction: InteractionRef, unit: Unit, payload: MessagePayload): Promise<string> {
    const files = unit.kind === 'file' ? [{ name: unit.name, data: unit.bytes }] : [];
    return (await this.#api.followUp(interaction.appId, interaction.token, payload, files)).id;
  }

  async #postToChannel(place: Place, unit: Unit, body: OutboundBody, outboxId: string, index: number): Promise<string> {
    const id = await this.#create(place.channelId, unit, body, {
      nonce: nonceOf(outboxId, index, this.#restarts.get(outboxId) ?? 0),
      replyTo: index === 0 && !place.isElsewhere ? body.replyTo : undefined,
    });
    if (unit.kind === 'card') this.#cards.set(id, true);
    const channelId = place.isElsewhere ? place.channelId : undefined;
    return writeId({ id, isFile: unit.kind === 'file', isEphemeral: false, channelId });
  }

  async #create(
    channelId: string,
    unit: Unit,
    body: OutboundBody,
    options: { readonly nonce: string; readonly replyTo: string | undefined },
  ): Promise<string> {
    const payload = { ...payloadOf(unit, body, 0), nonce: options.nonce, enforce_nonce: true };
    const files = unit.kind === 'file' ? [{ name: unit.name, data: unit.bytes }] : [];
    if (options.replyTo !== undefined && /^\d{1,20}$/.test(options.replyTo)) {
      const reference = { message_id: options.replyTo, fail_if_not_exists: false };
      try {
        return (await this.#api.createMessage(channelId, { ...payload, message_reference: reference }, files)).id;
      } catch (err) {
        // What it answers stands elsewhere or may not be answered; what it says still has to arrive.
        const isReference =
          err instanceof DiscordFailure && err.faults.some((fault) => fault.startsWith('message_reference'));
        if (!isReference && codeOf(err) !== codes.replyNotAllowed) throw err;
      }
    }
    return (await this.#api.createMessage(channelId, payload, files)).id;
  }

  /** @returns undefined when the message is not there to be edited and may be posted again in its place. */
  async #editUnit(
    conversation: Conversation,
    sent: SentId,
    unit: Unit,
    body: OutboundBody,
    mustExist: boolean,
  ): Promise<string | undefined> {
    const channelId = sent.channelId ?? channelOf(conversation);
    const edit = async (): Promise<void> => {
      if (sent.isEphemeral) await this.#editEphemeral(sent, unit, body);
      else if (unit.kind !== 'file') await this.#editText(channelId, sent.id, unit, body);
      else {
        const files = [{ name: unit.name, data: unit.bytes }];
        await this.#api.editMessage(channelId, sent.id, { attachments: [{ id: '0', filename: unit.name }] }, files);
      }
    };
    try {
      await edit().catch(async (err: unknown) => {
        if (codeOf(err) !== codes.threadArchived) throw err;
        await this.#api.reopenThread(channelId);
        await edit();
      });
    } catch (err) {
      if (classifyDiscordError(err).kind === 'gone' && !mustExist) return undefined;
      throw err;
    }
    return writeId(sent);
  }

  async #editText(
    channelId: string,
    id: string,
    unit: Exclude<Unit, { kind: 'file' }>,
    body: OutboundBody,
  ): Promise<void> {
    const { content, components, flags: wanted, allowed_mentions } = payloadOf(unit, body, 0);
    // Only these two may be changed after a message was posted.
    const kept = wanted & (flags.suppressEmbeds | flags.componentsV2);
    const shape = unit.kind === 'card' ? { content: null, components } : { content, components: [] };
    try {
      await this.#api.editMessage(channelId, id, { ...shape, flags: kept, allowed_mentions });
      if (unit.kind === 'card') this.#cards.set(id, true);
    } catch (err) {
      // Another process made it a card, and a card it stays.
      if (unit.kind === 'card' || codeOf(err) !== codes.invalidBody) throw err;
      const [card] = renderBody({ ...body, parts: body.parts.filter(({ type }) => type !== 'file') }, { asCard: true });
      if (card?.kind !== 'card') throw err;
      await this.#editText(channelId, id, card, body);
    }
  }

  /** A message only one person sees can be changed while the interaction lives; afterwards it stays as it is. */
  async #editEphemeral(sent: SentId, unit: Unit, body: OutboundBody): Promise<void> {
    const ref = body.interactionToken === undefined ? undefined : unpackInteraction(body.interactionToken);
    if (ref === undefined || unit.kind === 'file' || !isAlive(ref, this.#clock.now().getTime())) return;
    const { content, components, flags: wanted, allowed_mentions } = payloadOf(unit, body, 0);
    const shape = unit.kind === 'card' ? { content: null, components } : { content, components: [] };
    try {
      const change = { ...shape, flags: wanted & flags.componentsV2, allowed_mentions };
      await this.#api.editInteractionMessage(ref.appId, ref.token, sent.id, change);
    } catch (err) {
      if (!isTooLate(err) && classifyDiscordError(err).kind !== 'gone') throw err;
    }
  }

  async #discard(conversation: Conversation, ids: readonly string[]): Promise<void> {
    try {
      await this.delete(conversation, { ids });
    } catch (err) {
      this.#log.debug({ reason: classifyDiscordError(err).reason }, 'surplus messages were not deleted');
    }
  }
}

interface Place {
  readonly channelId: string;
  /** Not the conversation the message is for, but a private channel in its stead. */
  readonly isElsewhere: boolean;
  readonly interaction: InteractionRef | undefined;
}

/** Codes of a room that has no threads, or none for us: wrong kind of channel, missing rights, too many threads. */
const roomsWithoutThreads: ReadonlySet<number> = new Set([50_001, 50_013, 50_024, 50_068, 160_006, 10_008]);

function channelOf(conversation: Conversation): string {
  return conversation.thread ?? conversation.room;
}

function payloadOf(unit: Unit, body: OutboundBody, extraFlags: number): MessagePayload {
  const users = (body.mentions ?? []).filter((id) => /^\d{1,20}$/.test(id)).slice(0, 100);
  const isSilent = body.isSilent === true || body.priority === 'low';
  return {
    ...(unit.kind === 'text' ? { content: unit.content } : {}),
    ...(unit.kind === 'card' ? { components: unit.components } : {}),
    flags:
      extraFlags |
      // Cards fetch no previews, and have nothing to suppress.
      (unit.kind === 'card' ? flags.componentsV2 : flags.suppressEmbeds) |
      (isSilent ? flags.suppressNotifications : 0),
    allowed_mentions: { parse: [], users, replied_user: false },
  };
}

/** At most 25 characters; the same for every try of the same part, so that Discord makes one message of them. */
function nonceOf(key: string, index: number, restarts: number): string {
  return createHash('sha256').update(`${key}\n${index}\n${restarts}`).digest('base64url').slice(0, 24);
}

/** A map that forgets its oldest entries. */
class Remembered<V> {
  readonly #values = new Map<string, V>();

  get(key: string): V | undefined {
    return this.#values.get(key);
  }

  set(key: string, value: V): void {
    this.#values.delete(key);
    this.#values.set(key, value);
    const oldest = this.#values.keys().next().value;
    if (this.#values.size > rememberedMax && oldest !== undefined) this.#values.delete(oldest);
  }

  delete(key: string): void {
    this.#values.delete(key);
  }
}
