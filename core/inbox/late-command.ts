import type { Db } from '../kit/database.ts';
import { formatDuration } from '../kit/duration.ts';
import { putOffer } from '../offers/put-offer.ts';
import type { InboundEvent } from './inbound.ts';
import { markEvent } from './inbox-store.ts';
import type { KnownEvent } from './known-event.ts';

/** A command that is older than this when it arrives came out of a backlog: what it was meant for may be over. */
const lateMs = 15 * 60_000;
/** How long it may still be confirmed. */
const offerMs = 24 * 60 * 60_000;
/** Commands that only tell something. */
const harmless = new Set(['help', 'start', 'status', 'agents', 'people', 'costs', 'approvals', 'grants']);

/** Whether a command was written so long ago that it must not be carried out without asking. */
export function isLateCommand(event: Extract<InboundEvent, { type: 'command' }>, now: Date): boolean {
  return !harmless.has(event.name) && now.getTime() - event.occurredAt.getTime() > lateMs;
}

/** Asks whether a late command is still meant; its author alone may answer. */
export async function offerLateCommand(
  db: Db,
  known: KnownEvent,
  event: Extract<InboundEvent, { type: 'command' }>,
  now: Date,
): Promise<void> {
  const line = `/${event.name} ${event.args}`
    .trim()
    .replaceAll(/[`\s]+/g, ' ')
    .slice(0, 200);
  const age = formatDuration(now.getTime() - event.occurredAt.getTime());
  await db.transaction().execute(async (tx) => {
    if (!(await markEvent(tx, known.inboxId, 'routed'))) return;
    await putOffer(tx, {
      subject: {
        kind: 'late_command',
        name: event.name,
        args: event.args,
        files: [...(event.files ?? [])],
        ...(event.messageId === undefined ? {} : { messageId: event.messageId }),
      },
      markdown: `You sent \`${line}\` ${age} ago, and I receive it only now. Shall I still do it?`,
      places: [event.conversation],
      personId: known.person.id,
      validMs: offerMs,
      interactionToken: event.interactionToken,
    });
  });
}
