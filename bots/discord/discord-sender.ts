import type { Clock } from '#core/kit/clock.ts';
import type { Log } from '#core/kit/log.ts';
import type { ChannelCapabilities, MessageRef, ReactionSign, SendProgress } from '#core/outbox/channel-sender.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { type DiscordApi, messageSchema as sentMessageSchema } from './discord-api.ts';
import { classifyDiscordError, codeOf, codes, DiscordFailure, toChannelError } from './discord-errors.ts';
import { type InteractionRef, idAt, isAlive, timeOf, unpackInteraction } from './interaction-ref.ts';
import { isTooLate, replyToInteraction, textOf } from './interaction-reply.ts';
import { parseId, type SentId, writeId } from './message-id.ts';
import { firstSlot, type MessagePayload, nonceOf, payloadOf, withSlots } from './message-payload.ts';
import { Remembered } from './remembered.ts';
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

/** What Discord made longer ago than this was not made by the call that just returned. */
const createdJustNowMs = 1_000;
const lookUpMs = 5_000;
/** Within this time a nonce is surely recognised. */
const nonceSureMs = 60_000;
const clockSkewMs = 5_000;

const reactionEmoji: Readonly<Record<ReactionSign, string>> = { seen: '👀', working: '⏳', done: '✅', failed: '❌' };

/** The sending half of the Discord channel. */
export class DiscordSender {
  readonly #me: string;
  readonly #api: DiscordApi;
  readonly #log: Log;
  readonly #clock: Clock;
  /** Messages that are cards, which Discord does not turn back into text. */
  readonly #cards = new Remembered<true>();
  /** Messages that are not there any more. */
  readonly #gone = new Remembered<true>();
  readonly #signs = new Remembered<ReactionSign>();
  /** When a part was sent first whose sending got no answer, in ms since the epoch, by its key. */
  readonly #unsure = new Remembered<number>();

  /** @param deps.me the bot's user id. */
  constructor(deps: { readonly api: DiscordApi; readonly log: Log; readonly clock: Clock; readonly me: string }) {
    this.#me = deps.me;
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
    const ids: string[] = [...(progress?.posted ?? [])];
    let place = await this.#placeFor(conversation, body, ids);
    try {
      for (const [index, { unit, slot }] of withSlots(renderBody(body)).entries()) {
        if (index < ids.length) continue;
        const post = async (): Promise<string> => await this.#post(place, unit, body, `${outboxId}\n${slot}`);
        const id = await post().catch(async (err: unknown) => {
          if (place.interaction === undefined || !isTooLate(err)) throw err;
          this.#log.debug({ reason: classifyDiscordError(err).reason }, 'interaction cannot be answered any more');
          const { interactionToken: _dead, ...rest } = body;
          place = await this.#placeFor(conversation, rest, ids);
          return await post();
        });
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
    const place = this.#placeOf(conversation, body, oldTexts[0]);
    const texts: string[] = [];
    const files: string[] = [];
    try {
      for (const [index, { unit, slot }] of withSlots(units).entries()) {
        const isFile = unit.kind === 'file';
        const list = isFile ? files : texts;
        const known = (isFile ? oldFiles : oldTexts)[list.length];
        const edited =
          known === undefined ? undefined : await this.#editUnit(conversation, known, unit, body, index === 0);
        if (edited !== undefined) {
          list.push(edited);
          continue;
        }
        // More of a private message than fits can no longer be shown to its one reader alone.
        if (place === undefined) continue;
        const id = await this.#post(place, unit, body, `${outboxId}\n${slot}`);
        list.push(id);
        await progress?.onPosted(id);
      }
    } catch (err) {
      // The caller posts it anew; what is left of it would stand there twice.
      if (classifyDiscordError(err).kind === 'gone') await this.#discard(conversation, ref.ids);
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
      this.#gone.set(sent.id, true);
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

  /** Where the messages of a new body go: an interaction, the person's private channel, or the conversation. */
  async #placeFor(conversation: Conversation, body: OutboundBody, posted: readonly string[]): Promise<Place> {
    const channelId = posted.map(parseId).find((sent) => sent.channelId !== undefined)?.channelId;
    if (channelId !== undefined) return { channelId, isElsewhere: true, interaction: undefined };
    const interaction = this.#aliveInteraction(body);
    if (interaction === undefined && body.ephemeralTo !== undefined && conversation.kind !== 'dm') {
      const dm = await this.#dmWith(body.ephemeralTo);
      if (dm !== undefined) return { channelId: dm, isElsewhere: true, interaction: undefined };
    }
    return { channelId: channelOf(conversation), isElsewhere: false, interaction };
  }

  /** Where further parts of a message that is there already go; undefined where they would be seen by others. */
  #placeOf(conversation: Conversation, body: OutboundBody, first: SentId | undefined): Place | undefined {
    const interaction = first?.isEphemeral === true ? this.#aliveInteraction(body) : undefined;
    if (first?.isEphemeral === true && interaction === undefined) return undefined;
    const channelId = first?.channelId;
    return {
      channelId: channelId ?? channelOf(conversation),
      isElsewhere: channelId !== undefined,
      interaction,
    };
  }

  #aliveInteraction(body: OutboundBody): InteractionRef | undefined {
    const ref = body.interactionToken === undefined ? undefined : unpackInteraction(body.interactionToken);
    return ref !== undefined && isAlive(ref, this.#clock.now().getTime()) ? ref : undefined;
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

  /** @param key says which part of which outbox entry it is. */
  async #post(place: Place, unit: Unit, body: OutboundBody, key: string): Promise<string> {
    const { interaction } = place;
    if (interaction === undefined) return await this.#postToChannel(place, unit, body, key);
    const isEphemeral = body.ephemeralTo !== undefined;
    const isFirst = key.endsWith(firstSlot);
    if (!isEphemeral && !isFirst) {
      try {
        return await this.#postToChannel(place, unit, body, key);
      } catch (err) {
        // Where the bot is not a member, it may only speak through the interaction.
        if (classifyDiscordError(err).kind !== 'unreachable') throw err;
      }
    }
    const payload = payloadOf(unit, body, isEphemeral ? flags.ephemeral : 0);
    const id = isFirst
      ? await replyToInteraction(this.#api, interaction, payload)
      : await this.#followUp(interaction, unit, payload);
    if (unit.kind === 'card') this.#cards.set(id, true);
    return writeId({ id, isFile: unit.kind === 'file', isEphemeral, channelId: undefined });
  }

  async #followUp(interaction: InteractionRef, unit: Unit, payload: MessagePayload): Promise<string> {
    const files = unit.kind === 'file' ? [{ name: unit.name, data: unit.bytes }] : [];
    return (await this.#api.followUp(interaction.appId, interaction.token, payload, files)).id;
  }

  async #postToChannel(place: Place, unit: Unit, body: OutboundBody, key: string): Promise<string> {
    const replyTo = key.endsWith(firstSlot) && !place.isElsewhere ? body.replyTo : undefined;
    let nonce = nonceOf(key);
    for (;;) {
      // What an earlier try left there may say what was true then: a card that was decided meanwhile.
      const wasTried = this.#unsure.get(key) !== undefined;
      const id =
        (await this.#findUnsure(place.channelId, unit, body, key)) ??
        (await this.#createSurely(place.channelId, unit, body, { nonce, replyTo, key }));
      const state = await this.#stateOf(place.channelId, id, wasTried);
      if (state === 'gone') {
        // Discord remembers the nonce of a message that was deleted, and shows nothing: it takes another one.
        nonce = nonceOf(`${key}\n${id}`);
        continue;
      }
      if (unit.kind === 'card') this.#cards.set(id, true);
      // Made by an earlier try, whose words may have been revised since.
      if (state === 'earlier' && unit.kind !== 'file') await this.#editText(place.channelId, id, unit, body);
      const channelId = place.isElsewhere ? place.channelId : undefined;
      return writeId({ id, isFile: unit.kind === 'file', isEphemeral: false, channelId });
    }
  }

  /** Whether what was just "created" is an earlier message, or one that is deleted. Only old ones have to be looked for. */
  async #stateOf(channelId: string, id: string, wasTried: boolean): Promise<'new' | 'earlier' | 'gone'> {
    if (this.#gone.get(id) === true) return 'gone';
    if (!wasTried && this.#clock.now().getTime() - timeOf(id) < createdJustNowMs) return 'new';
    try {
      await this.#api.message(channelId, id, AbortSignal.timeout(lookUpMs));
      return 'earlier';
    } catch (err) {
      if (codeOf(err) !== codes.unknownMessage) return 'earlier';
      this.#gone.set(id, true);
      return 'gone';
    }
  }

  /** Creates, and remembers when there was no answer: Discord may have taken it all the same. */
  async #createSurely(
    channelId: string,
    unit: Unit,
    body: OutboundBody,
    options: { readonly nonce: string; readonly replyTo: string | undefined; readonly key: string },
  ): Promise<string> {
    const startedAt = this.#clock.now().getTime();
    try {
      const id = await this.#create(channelId, unit, body, options);
      this.#unsure.delete(options.key);
      return id;
    } catch (err) {
      const hasNoAnswer = err instanceof DiscordFailure && (err.status === undefined || err.status >= 500);
      if (hasNoAnswer && this.#unsure.get(options.key) === undefined) this.#unsure.set(options.key, startedAt);
      throw err;
    }
  }

  /** Discord recognises a nonce for a few minutes only; after a longer outage the message itself is looked for. */
  async #findUnsure(channelId: string, unit: Unit, body: OutboundBody, key: string): Promise<string | undefined> {
    const startedAt = this.#unsure.get(key);
    if (startedAt === undefined || this.#clock.now().getTime() - startedAt < nonceSureMs) return undefined;
    const after = idAt(startedAt - clockSkewMs);
    const messages = await this.#api.messagesAfter(channelId, after, AbortSignal.timeout(lookUpMs));
    const wanted = textOf(payloadOf(unit, body, 0));
    const found = messages
      .flatMap((message) => sentMessageSchema.safeParse(message).data ?? [])
      .find((message) => message.author?.id === this.#me && textOf(message) === wanted);
    this.#unsure.delete(key);
    return found?.id;
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
      if (classifyDiscordError(err).kind !== 'gone') throw err;
      this.#gone.set(sent.id, true);
      if (mustExist) throw err;
      return undefined;
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
    const ref = this.#aliveInteraction(body);
    if (ref === undefined || unit.kind === 'file') return;
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

function channelOf(conversation: Conversation): string {
  return conversation.thread ?? conversation.room;
}
