import type { Clock } from '#core/kit/clock.ts';
import type { Ingest } from '../channel.ts';
import { summarise } from './dedup-key.ts';
import type { SlackDirectory } from './slack-directory.ts';
import type { Bot, SlackRaw } from './slack-raw.ts';

/** The account's own end, as an event tells it. */
type Ending = 'the app was uninstalled from the workspace' | 'its bot token was revoked';

export interface InboxDeps {
  readonly ingest: Ingest;
  readonly clock: Clock;
  readonly directory: SlackDirectory;
  readonly bot: Bot;
  readonly account: string;
  readonly hasDmThreads: boolean;
  readonly onEnding: (ending: Ending) => void;
}

/**
 * Stores payloads as they come, from either way of receiving. Resolves when one is committed and may be acknowledged;
 * what we have no use for needs no storing.
 */
export function createInbox(deps: InboxDeps): (body: unknown) => Promise<void> {
  const { ingest, clock, directory, bot, account, hasDmThreads, onEnding } = deps;
  /** Resolves when the names of everyone before are there or given up. */
  let namesBefore: Promise<unknown> = Promise.resolve();
  return async (body) => {
    const receivedAt = clock.now().getTime();
    const summary = summarise(body);
    if (summary === undefined) return;
    const { event, userId, dedupKey } = summary;
    if (event?.type === 'app_uninstalled') return onEnding('the app was uninstalled from the workspace');
    if (event?.type === 'tokens_revoked') {
      if ((event.tokens?.bot ?? []).length > 0) onEnding('its bot token was revoked');
      return;
    }
    // The echo of everything the bot writes would fill the inbox.
    if (userId === bot.userId && event?.type === 'message') return;
    const asked = userId === undefined ? undefined : directory.nameOf(userId);
    // An event whose author is known must not overtake an earlier one that waits for a name.
    namesBefore = Promise.allSettled([namesBefore, asked]);
    await namesBefore;
    const name = await asked;
    const roles = userId === undefined ? undefined : directory.groupsOf(userId);
    const raw: SlackRaw = {
      bot,
      account,
      hasDmThreads,
      receivedAt,
      ...(name === undefined ? {} : { name }),
      ...(roles === undefined ? {} : { roles: [...roles] }),
      body,
    };
    await ingest([{ dedupKey, raw }]);
  };
}
