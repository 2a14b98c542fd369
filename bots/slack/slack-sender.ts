import { z } from 'zod';
import type { Clock } from '#core/kit/clock.ts';
import { AppError } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';
import type {
  AnswerStream,
  CallBudgets,
  ChannelCapabilities,
  MessageRef,
  ReactionSign,
  SendProgress,
} from '#core/outbox/channel-sender.ts';
import type { OutboundBody } from '#core/outbox/outbound.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { SlackAnswerStream, stopStream } from './answer-stream.ts';
import { findSentMessages, metadataOf } from './find-sent.ts';
import { decodeInteraction, isAnswerable } from './interaction-token.ts';
import { onlyId, readMessageId } from './message-id.ts';
import { buttonTokenBytesMax } from './render-blocks.ts';
import { partsMax, type RenderedBody, renderBody, type SlackPost, textMax, uploadBytesMax } from './render-body.ts';
import { respond } from './respond.ts';
import type { SlackApi } from './slack-api.ts';
import { classifySlackError, isHalting, SlackRefusal, slackCodeOf, toChannelError } from './slack-errors.ts';
import { contentMark, downloadBytesMax, uploadFile } from './slack-files.ts';
import { SlackReactions } from './slack-reactions.ts';

const postedSchema = z.object({ ts: z.string() });
const ephemeralSchema = z.object({ message_ts: z.string() });
const openedSchema = z.object({ channel: z.object({ id: z.string() }) });

/**
 * Calls a minute Slack promises an app in one workspace: tier 2 for new streams, 3 for edits and reactions, 4 for
 * additions to a stream. For new messages it says no more than several hundred.
 */
const budgets: CallBudgets = {
  send: { count: 300, perMs: 60_000 },
  edit: { count: 50, perMs: 60_000 },
  stream: { count: 20, perMs: 60_000 },
  append: { count: 100, perMs: 60_000 },
  react: { count: 50, perMs: 60_000 },
};
/** Refusals after which a command is answered in the person's own messages instead of where it was given. */
const elsewhereCodes: ReadonlySet<string> = new Set(['not_in_channel', 'channel_not_found', 'is_archived']);

export interface SenderDeps {
  readonly api: SlackApi;
  readonly log: Log;
  readonly clock: Clock;
  /** The workspace the bot belongs to. */
  readonly teamId: () => Promise<string>;
}

/** The sending half of the Slack channel. */
export class SlackSender {
  readonly #deps: SenderDeps;
  readonly #reactions: SlackReactions;
  readonly #dmRooms = new Map<string, string>();

  constructor(deps: SenderDeps) {
    this.#deps = deps;
    this.#reactions = new SlackReactions(deps);
  }

  capabilities(conversation: Conversation): ChannelCapabilities {
    const isThread = conversation.thread !== undefined;
    return {
      textMax,
      partsMax,
      canEdit: true,
      canDelete: true,
      nativeStream: isThread ? 'append' : 'none',
      // Slack's tiers: 50 edits a minute, 100 appends a minute; one new message a second and channel.
      editIntervalMs: 1_200,
      sendIntervalMs: 1_000,
      buttonTokenBytesMax,
      threads: 'thread',
      modal: true,
      ephemeral: 'native',
      reactions: true,
      // The status goes after two minutes or with the next message, and only threads have one.
      typingIntervalMs: isThread ? 60_000 : 0,
      uploadBytesMax,
      downloadBytesMax,
      buttonsPerRowMax: 5,
      commands: 'not-in-threads',
      tables: 'native',
      progress: 'card',
      idempotentSend: 'metadata',
      pacedPer: 'room',
      budgets,
    };
  }

  /** @throws AppError `channel.*`, to be read with `classifySlackError`. */
  async send(
    conversation: Conversation,
    body: OutboundBody,
    outboxId: string,
    progress?: SendProgress,
  ): Promise<MessageRef> {
    const posted = [...(progress?.posted ?? [])];
    const onPosted = async (id: string): Promise<void> => {
      posted.push(id);
      await progress?.onPosted(id);
    };
    return await this.#withBlocks(body, async (rendered) => {
      const answered = await this.#answer(body, rendered);
      if (answered !== undefined) return answered;
      if (body.ephemeralTo !== undefined && rendered.files.length === 0) {
        return await this.#sendPrivately(conversation, body.ephemeralTo, rendered);
      }
      const message = { rendered, outboxId, progress: { posted, onPosted } };
      try {
        await this.#post(conversation, message);
      } catch (err) {
        const room = await this.#elsewhere(body, err);
        if (room === undefined) throw err;
        await this.#post(room, message);
      }
      return { ids: posted };
    });
  }

  /**
   * Posts are edited in place, new ones added, surplus ones deleted; a message that was streamed is ended first.
   * @throws AppError `channel.*`; kind `gone` when the first message no longer exists: then nothing of it is left.
   */
  async edit(
    conversation: Conversation,
    ref: MessageRef,
    body: OutboundBody,
    outboxId: string,
    progress?: SendProgress,
  ): Promise<MessageRef> {
    return await this.#withBlocks(body, async (rendered) => {
      const known = ref.ids.map((id) => ({ id, ...readMessageId(id) }));
      const oldPosts = known.flatMap((old) => (old.kind === 'post' || old.kind === 'stream' ? [old] : []));
      const oldFiles = known.flatMap((old) => (old.kind === 'file' ? [old] : []));
      if (oldPosts.length === 0 && oldFiles.length === 0) throw new SlackRefusal('chat.update', 'message_not_found');
      for (const old of oldPosts) {
        if (old.kind === 'stream') await stopStream(this.#deps.api, conversation.room, old.ts);
      }
      const ids: string[] = [];
      try {
        for (const [index, post] of rendered.posts.entries()) {
          const old = oldPosts[index];
          const isEdited =
            old !== undefined &&
            (await this.#update(conversation, old.ts, { post, key: outboxId, part: index }, index === 0));
          if (isEdited) {
            ids.push(old.ts);
            continue;
          }
          const id = await this.#postOne(conversation, { post, key: outboxId, part: index });
          ids.push(id);
          await progress?.onPosted(id);
        }
      } catch (err) {
        if (classifySlackError(err).kind === 'gone')
          await this.#discard(
            conversation,
            known.map(({ id }) => id),
          );
        throw err;
      }
      const kept = new Set<string>();
      for (const unit of rendered.files) {
        const mark = contentMark(unit);
        const same = oldFiles.find((old) => old.mark === mark && !kept.has(old.id));
        const id = same?.id ?? (await uploadFile(this.#deps.api, conversation, unit));
        kept.add(id);
        ids.push(id);
        if (same === undefined) await progress?.onPosted(id);
      }
      await this.#discard(conversation, [
        ...oldPosts.slice(rendered.posts.length).map(({ ts }) => ts),
        ...oldFiles.filter((old) => !kept.has(old.id)).map(({ id }) => id),
      ]);
      return { ids };
    });
  }

  async delete(conversation: Conversation, ref: MessageRef): Promise<void> {
    await this.#guard(async () => {
      for (const id of ref.ids) {
        try {
          await this.#remove(conversation, id);
        } catch (err) {
          if (classifySlackError(err).kind !== 'gone') throw err;
        }
      }
    });
  }

  /** Best effort: a sign that cannot be shown is only logged. */
  async typing(conversation: Conversation): Promise<void> {
    if (conversation.thread === undefined) return;
    await this.#try('assistant.threads.setStatus', async () =>
      this.#deps.api.call('assistant.threads.setStatus', {
        channel_id: conversation.room,
        thread_ts: conversation.thread,
        status: 'is working…',
      }),
    );
  }

  /** @throws AppError `channel.*`; `channel.rejected` outside of threads. */
  async openStream(conversation: Conversation, recipient: string | undefined): Promise<AnswerStream> {
    return await this.#guard(async () => {
      const isPrivate = conversation.kind === 'dm';
      if (conversation.thread === undefined || (recipient === undefined && !isPrivate)) {
        throw new AppError('channel.rejected', 'Slack streams answers only in threads, to the person who asked.');
      }
      const team = recipient === undefined || isPrivate ? undefined : await this.#deps.teamId();
      const to = recipient === undefined || team === undefined ? undefined : { user: recipient, team };
      const { api, clock } = this.#deps;
      const stream = await SlackAnswerStream.open({ api, clock }, conversation, to);
      return {
        get ref() {
          return stream.ref;
        },
        append: async (markdown) => {
          await this.#guard(async () => await stream.append(markdown));
        },
      };
    });
  }

  /** Best effort, as with `typing`. */
  async react(conversation: Conversation, messageId: string, sign: ReactionSign | undefined): Promise<void> {
    await this.#reactions.show(conversation.room, messageId, sign);
  }

  /** @throws AppError `channel.*`. */
  async findSent(conversation: Conversation, outboxId: string): Promise<MessageRef | undefined> {
    return await this.#guard(async () => await findSentMessages(this.#deps, conversation, outboxId));
  }

  /** The room of a person's direct messages. @throws what `SlackApi.call` throws. */
  async dmRoomOf(user: string): Promise<string> {
    const known = this.#dmRooms.get(user);
    if (known !== undefined) return known;
    const answer = await this.#deps.api.call('conversations.open', { users: user });
    const room = openedSchema.parse(answer).channel.id;
    this.#dmRooms.set(user, room);
    return room;
  }

  /** Posts one message. @returns its timestamp. */
  async postNotice(conversation: Conversation, post: SlackPost, key: string): Promise<string> {
    return await this.#guard(async () => await this.#postOne(conversation, { post, key, part: 0 }));
  }

  /** Posts what is not posted yet, and says of each that it is. */
  async #post(
    conversation: Conversation,
    message: { readonly rendered: RenderedBody; readonly outboxId: string; readonly progress: SendProgress },
  ): Promise<void> {
    const { rendered, outboxId, progress } = message;
    const { posts, files } = rendered;
    for (let part = progress.posted.length; part < posts.length + files.length; part += 1) {
      const post = posts[part];
      const unit = files[part - posts.length];
      if (post !== undefined) await progress.onPosted(await this.#postOne(conversation, { post, key: outboxId, part }));
      else if (unit !== undefined) await progress.onPosted(await uploadFile(this.#deps.api, conversation, unit));
    }
  }

  async #postOne({ room, thread }: Conversation, { post, key, part }: OnePost): Promise<string> {
    const call = async (place: { readonly thread?: string | undefined }): Promise<string> => {
      const answer = await this.#deps.api.call('chat.postMessage', {
        ...placeOf({ room, ...place }),
        text: post.text,
        blocks: post.blocks,
        metadata: metadataOf(key, part),
        ...quietly,
      });
      return postedSchema.parse(answer).ts;
    };
    try {
      return await call({ thread });
    } catch (err) {
      // The thread is gone, but what there is to say is not.
      if (thread === undefined || slackCodeOf(err) !== 'thread_not_found') throw err;
      return await call({});
    }
  }

  /** False when the message is not there to be edited and may be posted again in its place. */
  async #update(
    conversation: Conversation,
    ts: string,
    { post, key, part }: OnePost,
    mustExist: boolean,
  ): Promise<boolean> {
    try {
      await this.#deps.api.call('chat.update', {
        channel: conversation.room,
        ts,
        text: post.text,
        blocks: post.blocks,
        metadata: metadataOf(key, part),
        parse: 'none',
        link_names: false,
      });
      return true;
    } catch (err) {
      if (mustExist || classifySlackError(err).kind !== 'gone') throw err;
      return false;
    }
  }

  /**
   * Renders a body and does something with it; where Slack refuses its blocks, as some workspaces do the newest ones,
   * once more in older ones: the words must arrive all the same.
   */
  async #withBlocks<T>(body: OutboundBody, work: (rendered: RenderedBody) => Promise<T>): Promise<T> {
    return await this.#guard(async () => {
      try {
        return await work(renderBody(body, { isPlain: false }));
      } catch (err) {
        if (slackCodeOf(err) !== 'invalid_blocks') throw err;
        this.#deps.log.warn({ reason: classifySlackError(err).reason }, 'slack refused the blocks of a message');
        return await work(renderBody(body, { isPlain: true }));
      }
    });
  }

  /** Answers a command at the address it brought along; undefined when there is none that still works. */
  async #answer(body: OutboundBody, rendered: RenderedBody): Promise<MessageRef | undefined> {
    const interaction = body.interactionToken === undefined ? undefined : decodeInteraction(body.interactionToken);
    if (interaction?.url === undefined || rendered.files.length > 0) return undefined;
    if (!isAnswerable(interaction, this.#deps.clock.now().getTime())) return undefined;
    const ids: string[] = [];
    for (const post of rendered.posts) {
      try {
        await respond(interaction.url, { ...post, response_type: 'ephemeral', replace_original: false });
      } catch (err) {
        // The first failing means none was shown; a later one is worth no second copy of the others.
        const isOpen = classifySlackError(err).kind === 'unknown_outcome' || slackCodeOf(err) === 'invalid_blocks';
        if (ids.length > 0 || isOpen) throw err;
        return undefined;
      }
      ids.push(onlyId(`${interaction.at}:${ids.length}`));
    }
    return { ids };
  }

  async #sendPrivately(conversation: Conversation, user: string, rendered: RenderedBody): Promise<MessageRef> {
    const ids: string[] = [];
    for (const { text, blocks } of rendered.posts) {
      const answer = await this.#deps.api.call('chat.postEphemeral', {
        ...placeOf(conversation),
        user,
        text,
        blocks,
        parse: 'none',
        link_names: false,
      });
      ids.push(onlyId(ephemeralSchema.parse(answer).message_ts));
    }
    return { ids };
  }

  /** Where to answer a command that came from a place the bot cannot write to: the person's own messages. */
  async #elsewhere(body: OutboundBody, err: unknown): Promise<Conversation | undefined> {
    const interaction = body.interactionToken === undefined ? undefined : decodeInteraction(body.interactionToken);
    if (interaction === undefined || !elsewhereCodes.has(slackCodeOf(err) ?? '')) return undefined;
    const room = await this.dmRoomOf(interaction.user);
    return { channel: 'slack', account: '', room, kind: 'dm' };
  }

  async #remove(conversation: Conversation, id: string): Promise<void> {
    const message = readMessageId(id);
    switch (message.kind) {
      case 'only':
        return;
      case 'file':
        await this.#deps.api.call('files.delete', { file: message.fileId });
        return;
      case 'stream':
        await stopStream(this.#deps.api, conversation.room, message.ts);
        await this.#deps.api.call('chat.delete', { channel: conversation.room, ts: message.ts });
        return;
      case 'post':
        await this.#deps.api.call('chat.delete', { channel: conversation.room, ts: message.ts });
    }
  }

  async #discard(conversation: Conversation, ids: readonly string[]): Promise<void> {
    for (const id of ids) await this.#try('surplus', async () => this.#remove(conversation, id));
  }

  async #try(what: string, call: () => Promise<unknown>): Promise<void> {
    try {
      await call();
    } catch (err) {
      if (isHalting(err)) this.#deps.log.warn({ what }, 'slack refuses the token');
      else this.#deps.log.debug({ what, reason: classifySlackError(err).reason }, 'slack call failed without harm');
    }
  }

  async #guard<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (err) {
      throw toChannelError(err);
    }
  }
}

interface OnePost {
  readonly post: SlackPost;
  /** What the message is found again by. */
  readonly key: string;
  /** Which of the body's messages it is. */
  readonly part: number;
}

/** Links in an agent's text must not fetch anything by themselves, and names in it must ring for nobody. */
const quietly = { unfurl_links: false, unfurl_media: false, parse: 'none', link_names: false } as const;

function placeOf({ room, thread }: { readonly room: string; readonly thread?: string | undefined }) {
  return { channel: room, ...(thread === undefined ? {} : { thread_ts: thread }) };
}
