import { z } from 'zod';
import { openFence } from '#bots/markdown/heal-markdown.ts';
import type { Clock } from '#core/kit/clock.ts';
import type { AnswerStream, MessageRef } from '#core/outbox/channel-sender.ts';
import type { Conversation } from '#core/sessions/origin.ts';
import { streamId } from './message-id.ts';
import { shieldMentions } from './shield-mentions.ts';
import type { SlackApi } from './slack-api.ts';
import { slackCodeOf } from './slack-errors.ts';

/**
 * Slack ends a stream five minutes after its start, however busy it is, and at about 12,000 characters; both leave the
 * message broken. A stream goes on in another message well before, at the end of a block if there is one in time.
 */
const rollCharsMax = 9_000;
const rollCharsSoft = 7_500;
const rollMs = 235_000;
const rollSoftMs = 210_000;
/** Longest text of one call. */
const appendMax = 9_000;

/** The end of a text that more text could turn into a mention. */
const halfMention = /(?:<[!@#]?[a-z0-9^]{0,12}|@[a-z]{0,8})$/i;

/** Slack wants some text to begin a stream with; this shows as none. */
const nothingYet = '\u2060';

const startedSchema = z.object({ ts: z.string() });

export interface StreamDeps {
  readonly api: SlackApi;
  readonly clock: Clock;
}

/** An answer that grows by appending, over as many messages as it takes. */
export class SlackAnswerStream implements AnswerStream {
  readonly #deps: StreamDeps;
  readonly #conversation: Conversation;
  /** Who asked, which Slack wants to know outside of direct messages. */
  readonly #recipient: Record<string, string>;
  readonly #ids: string[] = [];
  #ts = '';
  /** Everything in the current message. */
  #text = '';
  #startedAt = 0;
  /** The beginning of what may become a mention, kept until more of it is there. The final text does not need it. */
  #held = '';

  private constructor(deps: StreamDeps, conversation: Conversation, recipient: Record<string, string>) {
    this.#deps = deps;
    this.#conversation = conversation;
    this.#recipient = recipient;
  }

  /** Shows the first, empty message. @throws what `SlackApi.call` throws. */
  static async open(
    deps: StreamDeps,
    conversation: Conversation,
    recipient: { readonly user: string; readonly team: string } | undefined,
  ): Promise<SlackAnswerStream> {
    const stream = new SlackAnswerStream(
      deps,
      conversation,
      recipient === undefined ? {} : { recipient_user_id: recipient.user, recipient_team_id: recipient.team },
    );
    await stream.#start(nothingYet);
    return stream;
  }

  get ref(): MessageRef {
    return { ids: this.#ids };
  }

  async append(markdown: string): Promise<void> {
    const text = this.#held + markdown.toWellFormed();
    this.#held = halfMention.exec(text)?.[0] ?? '';
    let rest = shieldMentions(text.slice(0, text.length - this.#held.length));
    while (rest !== '') {
      const fence = openFence(this.#text + rest);
      const room = rollCharsMax - this.#text.length - (fence === undefined ? 8 : fence.length + 8);
      const age = this.#deps.clock.now().getTime() - this.#startedAt;
      const isDue = age >= rollSoftMs || this.#text.length + rest.length > rollCharsSoft;
      if (!isDue) return await this.#send(rest);
      const mustRoll = age >= rollMs || rest.length > room;
      const cut = findRoll(this.#text, rest, Math.max(0, Math.min(room, rest.length)), mustRoll);
      // No good place yet, and still time for one.
      if (cut === undefined) return await this.#send(rest);
      if (cut > 0) await this.#send(rest.slice(0, cut));
      rest = rest.slice(cut).replace(/^\n+/, '');
      await this.#roll();
    }
  }

  async #send(text: string): Promise<void> {
    for (let start = 0; start < text.length; start += appendMax) {
      const piece = text.slice(start, start + appendMax);
      await this.#deps.api.call('chat.appendStream', {
        channel: this.#conversation.room,
        ts: this.#ts,
        markdown_text: piece,
      });
      this.#text += piece;
    }
  }

  /** Ends the current message, code closed, and goes on in another one with the code open again. */
  async #roll(): Promise<void> {
    const fence = openFence(this.#text);
    const info = fence === undefined ? '' : openInfo(this.#text);
    if (fence !== undefined) await this.#send(`${this.#text.endsWith('\n') ? '' : '\n'}${fence}`);
    await stopStream(this.#deps.api, this.#conversation.room, this.#ts);
    await this.#start(fence === undefined ? nothingYet : `${fence}${info}\n`);
  }

  async #start(first: string): Promise<void> {
    const answer = await this.#deps.api.call('chat.startStream', {
      channel: this.#conversation.room,
      thread_ts: this.#conversation.thread,
      ...this.#recipient,
      markdown_text: first,
    });
    this.#ts = startedSchema.parse(answer).ts;
    this.#startedAt = this.#deps.clock.now().getTime();
    this.#text = first;
    this.#ids.push(streamId(this.#ts));
  }
}

/** Ends a stream; one that has ended already, by age or by another process, is as good. */
export async function stopStream(api: SlackApi, channel: string, ts: string): Promise<void> {
  try {
    await api.call('chat.stopStream', { channel, ts });
  } catch (err) {
    const code = slackCodeOf(err);
    if (code !== 'message_not_in_streaming_state' && code !== 'msg_too_long') throw err;
  }
}

/** Where in `rest` to go on in another message; undefined while it is better to wait for the end of the block. */
function findRoll(text: string, rest: string, room: number, mustRoll: boolean): number | undefined {
  for (let at = rest.lastIndexOf('\n\n', room); at !== -1; at = at === 0 ? -1 : rest.lastIndexOf('\n\n', at - 1)) {
    if (openFence(text + rest.slice(0, at)) === undefined) return at;
  }
  if (text.endsWith('\n\n') && openFence(text) === undefined) return 0;
  if (!mustRoll) return undefined;
  // A message that has hardly begun would otherwise be left again at once.
  const isWorthIt = (at: number): boolean => text.length + at > rollCharsSoft / 2;
  const line = rest.lastIndexOf('\n', room - 1);
  if (line > 0 && isWorthIt(line)) return line;
  if (text.endsWith('\n') && isWorthIt(0)) return 0;
  const space = rest.lastIndexOf(' ', room - 1);
  if (space > 0 && isWorthIt(space)) return space + 1;
  // Half a surrogate pair in each message would show as two broken signs.
  const unit = rest.charCodeAt(room);
  return unit >= 0xdc00 && unit <= 0xdfff ? room - 1 : room;
}

/** The info words of the fence that is open at the end of a text. */
function openInfo(text: string): string {
  const matches = [...text.matchAll(/^ {0,3}(?:`{3,}|~{3,})([^\n`]*)$/gm)];
  return (matches.at(-1)?.[1] ?? '').trim();
}
