import { endEvent } from '../inbox/end-event.ts';
import type { InboundEvent } from '../inbox/inbound.ts';
import type { Db } from '../kit/database.ts';
import { newId } from '../kit/ids.ts';
import { toWellFormed } from '../kit/json.ts';
import { acceptTurns } from '../lanes/accept-turns.ts';
import { appendEvents } from '../lanes/append-events.ts';
import type { LaneWake } from '../lanes/lane.ts';
import { toAttachedFile } from './accept-message.ts';
import { cancelQueued, lockOpenMessage, type OpenMessage, replacePayload } from './amend-store.ts';

/** Stands between the old text and the new one in what an agent is told of an edit. */
const marker = '. It now reads:\n';
/** How much of the old text the agent is reminded of. */
const quotedMax = 200;

export interface AmendDeps {
  readonly db: Db;
  readonly ring: (wakes: readonly LaneWake[]) => Promise<void>;
}

/**
 * A person changed a message of their own. While it waits its text is replaced; once an agent works on it the agent is
 * told at its next step; afterwards nothing happens. Platforms announce a change also when only a preview or a reaction
 * was added: the same text is no change.
 */
export async function editMessage(
  deps: AmendDeps,
  inboxId: string,
  event: Extract<InboundEvent, { type: 'edit' }>,
): Promise<void> {
  const wakes = await deps.db.transaction().execute(async (tx): Promise<readonly LaneWake[]> => {
    const open =
      event.messageId === undefined ? undefined : await lockOpenMessage(tx, event.conversation, event.messageId);
    const text = open === undefined ? '' : askedText(open, event.text);
    const before = open?.payload.text.trim() ?? '';
    const isNew = text !== '' && text !== before && !before.endsWith(`${marker}${text}`);
    const isMeant = open !== undefined && isNew && isAuthor(open, event);
    if (!(await endEvent(tx, inboxId, isMeant ? 'routed' : 'ignored')) || !isMeant) return [];
    const files = event.files === undefined ? {} : { files: event.files.map(toAttachedFile) };
    if (open.state === 'queued') {
      const head = before.includes(marker) ? before.slice(0, before.indexOf(marker) + marker.length) : '';
      await replacePayload(tx, open.turnId, { ...open.payload, ...files, text: `${head}${text}` });
      return [];
    }
    const accepted = await acceptTurns(tx, [
      {
        turnId: newId(),
        sessionId: open.sessionId,
        eventKey: `inbox:${inboxId}`,
        mode: 'steer',
        kind: 'message',
        agentName: open.agentName,
        agentVersion: open.agentVersion,
        origin: open.origin,
        payload: { ...open.payload, ...files, text: editedText(before, text) },
      },
    ]);
    return accepted.flatMap(({ wake }) => (wake === undefined ? [] : [wake]));
  });
  if (wakes.length > 0) await deps.ring(wakes);
}

/**
 * A person took a message back. While it waits it is dropped; what an agent has begun goes on, and the record says that
 * its cause is gone. `/stop` is there for the rest.
 */
export async function deleteMessage(
  deps: Pick<AmendDeps, 'db'>,
  inboxId: string,
  event: Extract<InboundEvent, { type: 'delete' }>,
): Promise<void> {
  await deps.db.transaction().execute(async (tx) => {
    const open =
      event.messageId === undefined ? undefined : await lockOpenMessage(tx, event.conversation, event.messageId);
    if (!(await endEvent(tx, inboxId, open === undefined ? 'ignored' : 'routed')) || open === undefined) return;
    if (open.state === 'queued') await cancelQueued(tx, open.turnId);
    else {
      const payload = { text: 'The message that asked for this was deleted; the work went on.' };
      await appendEvents(tx, open.sessionId, [{ kind: 'notice', payload }]);
    }
  });
}

/** Platforms let only the author edit; this holds also for one that would not. */
function isAuthor(open: OpenMessage, event: InboundEvent): boolean {
  return open.payload.authorId === event.actor.externalId;
}

/** What a message asks for, without the words that only said whom and how. */
function askedText(open: OpenMessage, text: string): string {
  const plain = toWellFormed(text).trim();
  const task = open.kind === 'task' ? plain.replace(/^(?:@\S+\s+)?\/?run(?:@\S+)?\s+/i, '') : plain;
  const named = new RegExp(`^@${open.agentName}[\\s:,]+`, 'i');
  return task.replace(named, '').trim();
}

function editedText(before: string, now: string): string {
  const quoted = before.length > quotedMax ? `${before.slice(0, quotedMax)}…` : before;
  return `I have edited my message "${quoted}"${marker}${now}`;
}
