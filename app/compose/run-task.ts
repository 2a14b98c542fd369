import type { Channel } from '#bots/channel.ts';
import type { CommandDeps } from '#core/commands/command-deps.ts';
import type { KnownEvent } from '#core/inbox/known-event.ts';
import type { Db } from '#core/kit/database.ts';
import { AppError } from '#core/kit/errors.ts';
import type { Log } from '#core/kit/log.ts';
import { openThread } from '#core/sessions/open-thread.ts';
import type { AcceptMessage } from '#core/turns/accept-message.ts';

const titleMax = 60;

/**
 * `/run`: a task of its own. Asked for in the main stream of a room of several people, or of a private chat with topics, it
 * gets a thread of its own there, where the platform has threads, so that its progress and answer do not drown out
 * everybody else.
 */
export function createRunTask(deps: {
  readonly db: Db;
  readonly log: Log;
  readonly channel: Pick<Channel, 'startThread'> & Partial<Pick<Channel, 'capabilities'>>;
  readonly acceptMessage: AcceptMessage;
  readonly acknowledge: CommandDeps['acknowledge'];
}): (known: KnownEvent, args: string) => Promise<void> {
  return async (known, args) => {
    const text = args.trim();
    if (text === '') {
      throw new AppError('command.invalid', 'What shall I work on?', { mend: 'Write /run and then the task.' });
    }
    const placed = await inThread(deps, known, text);
    const files = known.event.type === 'command' ? (known.event.files ?? []) : [];
    await deps.acceptMessage(placed, { text, kind: 'task', files });
    await deps.acknowledge(known.event, placed === known ? 'On it.' : 'On it, in a thread of its own.', false);
  };
}

async function inThread(
  deps: Parameters<typeof createRunTask>[0],
  known: KnownEvent,
  text: string,
): Promise<KnownEvent> {
  const { event, inboxId, person } = known;
  const { conversation, messageId } = event;
  // Topics divide a private chat into conversations; a thread there would only hide the answer.
  const hasPlace = conversation.kind !== 'dm' || deps.channel.capabilities?.(conversation).threads === 'topic';
  if (!hasPlace || conversation.thread !== undefined) return known;
  const started = await deps.channel
    .startThread?.(conversation, {
      title: text.replaceAll(/\s+/g, ' ').slice(0, titleMax),
      // The same event again, after a crash, goes on in the same thread.
      key: inboxId,
      requester: event.actor.externalId,
      ...(messageId === undefined ? {} : { messageId }),
    })
    .catch((err: unknown) => {
      deps.log.warn({ err, channel: conversation.channel, room: conversation.room }, 'thread could not be started');
      return undefined;
    });
  if (started === undefined) return known;
  // A reply across two places is refused by most platforms: the thread itself shows what it belongs to.
  const { messageId: _elsewhere, ...origin } = known.origin;
  return {
    ...known,
    thread: await openThread(deps.db, started, person.id),
    origin: { ...origin, ...started },
  };
}
