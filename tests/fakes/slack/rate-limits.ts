import { SlackThrottled } from './slack-error.ts';

/** Calls a minute, from the rate-limit page and the method pages of docs.slack.dev. */
const perMinute: Readonly<Record<string, number>> = {
  'apps.connections.open': 20,
  'chat.appendStream': 100,
  'chat.delete': 50,
  'chat.postEphemeral': 100,
  'chat.startStream': 20,
  'chat.stopStream': 20,
  'chat.update': 50,
  'conversations.history': 50,
  'conversations.open': 50,
  'conversations.replies': 50,
  'files.completeUploadExternal': 100,
  'files.getUploadURLExternal': 100,
  'files.info': 100,
  'reactions.add': 50,
  'reactions.remove': 50,
  'usergroups.list': 20,
  'users.info': 100,
  'views.open': 100,
  'views.publish': 100,
  // "Several hundred" for the whole workspace, besides one a second for each channel.
  'chat.postMessage': 300,
};
const windowMs = 60_000;
const channelMs = 1_000;
/** Short bursts into one channel are let through. */
const channelBurst = 3;

/** Counts calls and refuses those over the limit, as Slack does: by method and workspace, posts by channel, too. */
export class RateLimits {
  readonly #calls = new Map<string, number[]>();
  readonly #posts = new Map<string, number[]>();
  /** Refusals by method. */
  readonly refused = new Map<string, number>();

  /** @throws SlackThrottled. */
  take(method: string, channel: unknown, now: number): void {
    const limit = perMinute[method];
    const recent = (this.#calls.get(method) ?? []).filter((at) => now - at < windowMs);
    const [oldest = now] = recent;
    if (limit !== undefined && recent.length >= limit) this.#refuse(method, oldest + windowMs - now);
    if (method === 'chat.postMessage') {
      const key = String(channel);
      const posts = (this.#posts.get(key) ?? []).filter((at) => now - at < channelMs * channelBurst);
      const [first = now] = posts;
      if (posts.length >= channelBurst) this.#refuse(method, first + channelMs * channelBurst - now);
      this.#posts.set(key, [...posts, now]);
    }
    this.#calls.set(method, [...recent, now]);
  }

  #refuse(method: string, waitMs: number): never {
    this.refused.set(method, (this.refused.get(method) ?? 0) + 1);
    throw new SlackThrottled(Math.max(1, Math.ceil(waitMs / 1_000)));
  }
}
