import type { Log } from '#core/kit/log.ts';
import type { ReactionSign } from '#core/outbox/channel-sender.ts';
import type { SlackApi } from './slack-api.ts';
import { classifySlackError } from './slack-errors.ts';

const signs: Readonly<Record<ReactionSign, string>> = {
  seen: 'eyes',
  working: 'hourglass_flowing_sand',
  done: 'white_check_mark',
  failed: 'x',
};
/** Messages whose current sign is remembered, so that changing it takes two calls and not five. */
const signsMax = 2_000;

/** The sign of the bot under people's messages: one at a time. Best effort. */
export class SlackReactions {
  readonly #deps: { readonly api: SlackApi; readonly log: Log };
  readonly #shown = new Map<string, ReactionSign>();

  constructor(deps: { readonly api: SlackApi; readonly log: Log }) {
    this.#deps = deps;
  }

  /** Shows a sign in place of the one before; undefined takes it away. */
  async show(channel: string, timestamp: string, sign: ReactionSign | undefined): Promise<void> {
    const key = `${channel}:${timestamp}`;
    const before = this.#shown.get(key);
    this.#shown.delete(key);
    if (sign !== undefined) {
      await this.#call('reactions.add', { channel, timestamp, name: signs[sign] });
      this.#shown.set(key, sign);
      const oldest = this.#shown.keys().next().value;
      if (this.#shown.size > signsMax && oldest !== undefined) this.#shown.delete(oldest);
    }
    // A process that did not set the last sign cannot know it; what begins replaces at most the sign of receipt.
    const unknown: readonly ReactionSign[] =
      sign === 'seen' ? [] : sign === 'working' ? ['seen'] : ['seen', 'working', 'done', 'failed'];
    for (const other of before === undefined ? unknown : [before]) {
      if (other !== sign) await this.#call('reactions.remove', { channel, timestamp, name: signs[other] });
    }
  }

  async #call(method: 'reactions.add' | 'reactions.remove', parameters: Record<string, unknown>): Promise<void> {
    try {
      await this.#deps.api.call(method, parameters);
    } catch (err) {
      this.#deps.log.debug({ method, reason: classifySlackError(err).reason }, 'sign was not changed');
    }
  }
}
