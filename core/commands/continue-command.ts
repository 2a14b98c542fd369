import type { KnownEvent } from '../inbox/known-event.ts';
import type { Tx } from '../kit/database.ts';
import { formatDuration } from '../kit/duration.ts';
import { AppError } from '../kit/errors.ts';
import { createCode, numberSessions, useCode } from '../people/one-time-code.ts';
import { chooseAgent } from '../sessions/change-thread.ts';
import { continueSession, movableSessions, placeName } from '../sessions/continue-session.ts';
import { activeSessions } from '../sessions/end-session.ts';
import type { Command, CommandReply } from './command.ts';

/** Takes a conversation from one place to another, between channels too. */
export function continueCommand(): Record<string, Command> {
  return {
    continue: async (tx, known, args) => (args === '' ? await offer(tx, known) : await take(tx, known, args)),
  };
}

/** What could be continued here, and a code to continue what is here elsewhere. */
async function offer(tx: Tx, known: KnownEvent): Promise<CommandReply> {
  const { person, thread } = known;
  const lines: string[] = [];
  const here = (await activeSessions(tx, thread.threadKey)).find(
    (session) => session.origin.personId === person.id || person.role === 'owner',
  );
  if (here !== undefined) {
    const code = await createCode(tx, known, { kind: 'continue', sessionId: here.id });
    lines.push(
      `To go on with **${here.agentName}** somewhere else, send \`/continue ${code}\` there within 10 minutes.`,
    );
  }
  // What somebody talks about in private is nobody's business in a room of several people.
  const others = known.event.conversation.kind === 'dm' ? await movableSessions(tx, person.id, thread.threadKey) : [];
  if (others.length > 0) {
    await numberSessions(
      tx,
      known,
      others.map(({ id }) => id),
    );
    const now = Date.now();
    lines.push(
      ...(lines.length === 0 ? [] : ['']),
      'To go on here with one of your others, send its number:',
      '',
      ...others.map((session, index) => {
        const text = session.lastText.replaceAll(/[\s`*_[\]]+/g, ' ').slice(0, 60);
        const age = formatDuration(now - session.updatedAt.getTime());
        return `- \`/continue ${index + 1}\` ${session.agentName}, ${placeName(session.conversation)}, ${age} ago: ${text}`;
      }),
    );
  }
  return lines.length === 0
    ? { level: 'info', markdown: 'There is nothing to continue yet: neither here nor, of yours, anywhere else.' }
    : { markdown: lines.join('\n') };
}

async function take(tx: Tx, known: KnownEvent, code: string): Promise<CommandReply> {
  const { person, thread, origin } = known;
  const used = await useCode(tx, 'continue', code, known.identity);
  if (used.kind === 'locked') {
    return { level: 'warn', markdown: 'Too many wrong codes came from here. Try again in an hour.' };
  }
  if (used.kind === 'wrong' || used.sessionId === undefined) {
    // Returned, not thrown: the count of wrong codes must be kept.
    return {
      level: 'warn',
      markdown:
        'That code or number is not valid (any more). Send `/continue` where the conversation is, or here for a list.',
    };
  }
  if (used.personId !== person.id && person.role !== 'owner') {
    throw new AppError(
      'grant.missing',
      'Only the person whose conversation it is, or an owner, can take it elsewhere.',
      {
        mend: 'Ask them to send the code themselves; /link joins your own accounts.',
      },
    );
  }
  const moved = await continueSession(tx, used.sessionId, origin, { personId: person.id, inboxId: known.inboxId });
  // The next message here is meant for whom one was talking to.
  await chooseAgent(tx, thread.threadKey, moved.agentName, thread.conversation.kind === 'dm' ? undefined : person.id);
  const running = moved.isRunning
    ? ' It is at work: what it is writing right now still ends there, the rest comes here.'
    : '';
  return { markdown: `Here we go on with **${moved.agentName}**, from ${placeName(moved.from)}.${running}` };
}
