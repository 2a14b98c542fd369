import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import type { Clock } from '#core/kit/clock.ts';
import type { Log } from '#core/kit/log.ts';
import type { SlackApi } from './slack-api.ts';
import { classifySlackError } from './slack-errors.ts';

/** A name is asked for again after this long. */
const nameMs = 6 * 3_600_000;
const namesMax = 20_000;
/** An event waits this long for the name of somebody new: Slack wants its acknowledgement within three seconds. */
const patienceMs = 300;
const lookUpsMax = 4;
/** Slack allows a hundred look-ups a minute; a few are left to other processes. */
const lookUpsPerMinuteMax = 90;
const minuteMs = 61_000;
/** With more events a second than this none waits: under load the acknowledgement matters more than a name. */
const patientEventsMax = 30;
const secondMs = 1_000;
const groupsMs = 5 * 60_000;

const userSchema = z.object({
  user: z.object({
    name: z.string().nullish(),
    real_name: z.string().nullish(),
    profile: z.object({ display_name: z.string().nullish(), real_name: z.string().nullish() }).nullish(),
  }),
});
const groupsSchema = z.object({
  usergroups: z.array(z.object({ id: z.string(), users: z.array(z.string()).nullish() })),
});

export interface DirectoryDeps {
  readonly api: SlackApi;
  readonly log: Log;
  readonly clock: Clock;
}

/** Names and user groups of the workspace's people, which most events do not tell. Best effort throughout. */
export class SlackDirectory {
  readonly #deps: DirectoryDeps;
  readonly #names = new Map<string, { readonly name: string; readonly at: number }>();
  readonly #asking = new Map<string, Promise<void>>();
  #groupsOf: ReadonlyMap<string, readonly string[]> | undefined;
  #lookedUpAt: number[] = [];
  #pausedUntil = 0;
  #countedFrom = 0;
  #counted = 0;

  constructor(deps: DirectoryDeps) {
    this.#deps = deps;
  }

  /** The user groups a person is in, as of a few minutes ago; undefined until they were read once. */
  groupsOf(userId: string): readonly string[] | undefined {
    return this.#groupsOf === undefined ? undefined : (this.#groupsOf.get(userId) ?? []);
  }

  /** A person's name, if it is known or can be had quickly. */
  async nameOf(userId: string): Promise<string | undefined> {
    const now = this.#deps.clock.now().getTime();
    const known = this.#names.get(userId);
    if (known !== undefined && now - known.at < nameMs) return known.name;
    const asked = this.#ask(userId, now);
    if (known !== undefined || asked === undefined || this.#isBusy(now)) return known?.name;
    await Promise.race([asked, delay(patienceMs, undefined, { ref: false })]);
    return this.#names.get(userId)?.name;
  }

  /** Keeps the user groups fresh until the signal aborts. */
  async refreshGroups(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const { usergroups } = groupsSchema.parse(
          await this.#deps.api.call('usergroups.list', { include_users: true, include_disabled: false }),
        );
        const groups = new Map<string, string[]>();
        for (const { id, users } of usergroups) {
          for (const user of users ?? []) groups.set(user, [...(groups.get(user) ?? []), id]);
        }
        this.#groupsOf = groups;
      } catch (err) {
        this.#deps.log.debug({ reason: classifySlackError(err).reason }, 'user groups could not be read');
      }
      await this.#deps.clock.sleep(groupsMs, signal).catch(() => undefined);
    }
  }

  #isBusy(now: number): boolean {
    if (now - this.#countedFrom >= secondMs) {
      this.#countedFrom = now;
      this.#counted = 0;
    }
    this.#counted += 1;
    return this.#counted > patientEventsMax;
  }

  #ask(userId: string, now: number): Promise<void> | undefined {
    const running = this.#asking.get(userId);
    if (running !== undefined || this.#asking.size >= lookUpsMax || now < this.#pausedUntil) return running;
    this.#lookedUpAt = this.#lookedUpAt.filter((at) => now - at < minuteMs);
    if (this.#lookedUpAt.length >= lookUpsPerMinuteMax) return undefined;
    this.#lookedUpAt.push(now);
    const work = this.#lookUp(userId).finally(() => this.#asking.delete(userId));
    this.#asking.set(userId, work);
    return work;
  }

  async #lookUp(userId: string): Promise<void> {
    try {
      const { user } = userSchema.parse(await this.#deps.api.call('users.info', { user: userId }));
      const name = [user.profile?.display_name, user.profile?.real_name, user.real_name, user.name].find(
        (text) => text !== undefined && text !== null && text.trim() !== '',
      );
      if (name === undefined || name === null) return;
      this.#names.set(userId, { name, at: this.#deps.clock.now().getTime() });
      const oldest = this.#names.keys().next().value;
      if (this.#names.size > namesMax && oldest !== undefined) this.#names.delete(oldest);
    } catch (err) {
      const { kind, afterMs, reason } = classifySlackError(err);
      // Without the scope, or throttled: asking for each event would only slow them down.
      this.#pausedUntil = this.#deps.clock.now().getTime() + (afterMs ?? (kind === 'auth' ? nameMs : 30_000));
      this.#deps.log.debug({ reason }, 'a name could not be read');
    }
  }
}
