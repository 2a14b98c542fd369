import type { Db } from '../kit/database.ts';
import type { NewMessage } from '../outbox/put-messages.ts';
import { putMessages } from '../outbox/put-messages.ts';
import type { Conversation } from '../sessions/origin.ts';
import { type Broadcast, summarise } from './broadcast.ts';
import { markSettled, pruneBroadcasts, selectBroadcasts, selectUnsettled } from './broadcast-store.ts';

/** Failed targets a report names. */
const namedMax = 10;

/** Brings the reports of broadcasts up to date, until every place has the message or cannot get it. */
export async function reportBroadcasts(deps: { readonly db: Db }): Promise<void> {
  for (const { id, key, conversation } of await selectUnsettled(deps.db)) {
    await deps.db.transaction().execute(async (tx) => {
      const [broadcast] = await selectBroadcasts(tx, { id, rowsMax: 1 });
      if (broadcast === undefined) return;
      await putMessages(tx, [reportMessage(broadcast, key, conversation)]);
      if (broadcast.results.every((result) => result.state !== 'waiting')) await markSettled(tx, id);
    });
  }
}

/** What became of a broadcast, for its author. */
export function reportMessage(broadcast: Broadcast, key: string, conversation: Conversation): NewMessage {
  const { results } = broadcast;
  const hasAll = results.length > 0 && results.every((result) => result.state === 'delivered');
  const missed = results.filter((result) => result.state === 'failed' || result.state === 'unknown');
  const lines = missed
    .slice(0, namedMax)
    .map((result) => `- ${result.target}: ${result.state}, ${result.reason ?? ''}`);
  if (missed.length > namedMax) lines.push(`- and ${missed.length - namedMax} more`);
  return {
    key,
    conversation,
    importance: 'notice',
    body: {
      parts: [
        {
          type: 'notice',
          level: hasAll ? 'success' : missed.length > 0 ? 'warn' : 'info',
          markdown: [`Announced: ${summarise(results)}. \`${broadcast.id}\``, ...lines].join('\n'),
        },
      ],
    },
  };
}

/** Forgets broadcasts after 90 days. */
export async function forgetBroadcasts(deps: { readonly db: Db }): Promise<void> {
  await pruneBroadcasts(deps.db);
}
