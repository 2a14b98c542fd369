import type { Channel } from '#bots/channel.ts';
import { readHome } from '#core/home/read-home.ts';
import { endEvent } from '#core/inbox/end-event.ts';
import type { KnownEvent } from '#core/inbox/known-event.ts';
import type { Db } from '#core/kit/database.ts';
import type { Log } from '#core/kit/log.ts';

interface HomeDeps {
  readonly db: Db;
  readonly log: Log;
  readonly channel: Pick<Channel, 'channel' | 'showHome'>;
}

/** Shows a person's home page when they open it. */
export function createShowHome(deps: HomeDeps): (known: KnownEvent) => Promise<void> {
  return async (known) => {
    // Ended first: a page that cannot be shown now is shown when it is opened again.
    if (await endEvent(deps.db, known.inboxId, 'routed')) await showHome(deps, known);
  };
}

/** Carries out a press; one on a home page shows the page anew, because no message there keeps itself up to date. */
export function withHomeRefresh(
  deps: HomeDeps,
  press: (known: KnownEvent, token: string) => Promise<void>,
): (known: KnownEvent, token: string) => Promise<void> {
  return async (known, token) => {
    await press(known, token);
    if (known.event.messageId === undefined) await showHome(deps, known);
  };
}

async function showHome({ db, log, channel }: HomeDeps, { person, event, identity }: KnownEvent): Promise<void> {
  if (channel.showHome === undefined) return;
  try {
    const { thread: _, ...place } = event.conversation;
    await channel.showHome(identity.externalId, await readHome(db, person, place));
  } catch (err) {
    log.warn({ err, channel: channel.channel }, 'home page could not be shown');
  }
}
