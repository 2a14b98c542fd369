import type { Api } from 'grammy';
import type { Clock } from '#core/kit/clock.ts';
import type { Log } from '#core/kit/log.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { classifyTelegramError, isNotOffered, toChannelError } from './telegram-errors.ts';

/** Longest name of a topic. */
const nameMax = 128;
/** A topic that was lost is tried again after this long: somebody may have opened it again. */
const lostMs = 10 * 60_000;
/** Whether a room has topics is asked again after this long. */
const plainMs = 10 * 60_000;

/** What is remembered of topics over restarts. */
export interface TopicMemory {
  /** The topic that was made for this piece of work, if there is one. */
  find(room: string, key: string): Promise<string | undefined>;
  remember(room: string, key: string, topic: { readonly thread: string; readonly title: string }): Promise<void>;
  /** Notes that a topic cannot be written to. @returns whether this is news, so that people are told once. */
  noteLost(room: string, thread: string): Promise<boolean>;
}

/** For a channel that lives no longer than its process. */
export function openTopicMemory(): TopicMemory {
  const topics = new Map<string, string>();
  const lost = new Set<string>();
  return {
    find: async (room, key) => topics.get(`${room} ${key}`),
    remember: async (room, key, { thread }) => void topics.set(`${room} ${key}`, thread),
    noteLost: async (room, thread) => {
      const isNews = !lost.has(`${room} ${thread}`);
      lost.add(`${room} ${thread}`);
      return isNews;
    },
  };
}

interface TopicDeps {
  readonly api: Api;
  readonly log: Log;
  readonly clock: Clock;
  readonly memory: TopicMemory;
}

/** Makes topics for pieces of work, and knows which of them cannot be written to any more. */
export class Topics {
  readonly #deps: TopicDeps;
  /** Topics found closed or deleted, and until when they are left alone (ms since the epoch). */
  readonly #lostUntil = new Map<string, number>();
  /** Rooms found without topics, in the same way. */
  readonly #plainUntil = new Map<string, number>();

  constructor(deps: TopicDeps) {
    this.#deps = deps;
  }

  /**
   * Makes a topic in a forum, or in a private chat of a bot with topics. The platform cannot be asked whether an earlier
   * try made one: a crash between making and remembering it leaves an empty topic behind.
   * @throws AppError `channel.*` when the platform is away; undefined when the room has no topics.
   */
  async start(
    conversation: Conversation,
    options: { readonly title: string; readonly key: string },
  ): Promise<Conversation | undefined> {
    if (conversation.thread !== undefined || conversation.kind === 'channel') return undefined;
    const { api, log, memory } = this.#deps;
    const { room } = conversation;
    const known = await memory.find(room, options.key);
    if (known !== undefined) return { ...conversation, thread: known };
    if (this.#isMarked(this.#plainUntil, room)) return undefined;
    const title = topicName(options.title);
    try {
      const topic = await api.raw.createForumTopic({ chat_id: Number(room), name: title });
      const thread = String(topic.message_thread_id);
      await memory.remember(room, options.key, { thread, title });
      return { ...conversation, thread };
    } catch (err) {
      const failure = classifyTelegramError(err);
      if (!isNotOffered(err) && failure.kind !== 'unreachable') throw toChannelError(err);
      log.debug({ room, reason: failure.reason }, 'room has no topics to make');
      this.#mark(this.#plainUntil, room, plainMs);
      return undefined;
    }
  }

  /** Whether a topic was found closed or deleted a short while ago. */
  isLost(conversation: Conversation): boolean {
    return conversation.thread !== undefined && this.#isMarked(this.#lostUntil, lostKey(conversation));
  }

  /** Notes that a topic refused a message. @returns whether its people have not been told yet. */
  async noteLost(conversation: Conversation): Promise<boolean> {
    this.#mark(this.#lostUntil, lostKey(conversation), lostMs);
    return await this.#deps.memory.noteLost(conversation.room, conversation.thread ?? '');
  }

  #isMarked(marks: Map<string, number>, key: string): boolean {
    return (marks.get(key) ?? 0) > this.#deps.clock.now().getTime();
  }

  #mark(marks: Map<string, number>, key: string, ms: number): void {
    const now = this.#deps.clock.now().getTime();
    for (const [other, until] of marks) if (until <= now) marks.delete(other);
    marks.set(key, now + ms);
  }
}

function lostKey({ room, thread }: Conversation): string {
  return `${room} ${thread ?? ''}`;
}

function topicName(title: string): string {
  const line = title.toWellFormed().replace(/\s+/g, ' ').trim();
  if (line === '') return 'Task';
  return line.length <= nameMax ? line : `${line.slice(0, nameMax - 1).toWellFormed()}…`;
}
