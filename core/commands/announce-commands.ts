import {
  type BroadcastLevel,
  type BroadcastPriority,
  broadcastLevels,
  broadcastPriorities,
} from '../broadcast/broadcast.ts';
import { reportMessage } from '../broadcast/report-broadcasts.ts';
import { sendBroadcast } from '../broadcast/send-broadcast.ts';
import { AppError } from '../kit/errors.ts';
import { idFrom } from '../kit/ids.ts';
import type { LaneWake } from '../lanes/lane.ts';
import { putMessages } from '../outbox/put-messages.ts';
import { isAdministrator } from '../people/person.ts';
import type { Command } from './command.ts';
import type { CommandDeps } from './command-deps.ts';

/** `/announce`: one message to many places. `defaultTo` are the targets when none are named. */
export function announceCommands(
  deps: Pick<CommandDeps, 'listAgents' | 'ring'>,
  defaultTo: readonly string[],
): Record<string, Command> {
  return {
    announce: async (tx, known, args, afterCommit) => {
      if (!isAdministrator(known.person.role)) {
        throw new AppError('grant.missing', 'Only an owner or admin can announce something.', {
          mend: 'Ask one of them.',
        });
      }
      const { to, level, priority, text } = readAnnouncement(args);
      if (text === '') {
        throw new AppError('command.invalid', 'What shall I announce?', {
          mend: 'Write `/announce text`, with `to:rooms,@name`, `level:warn` or `priority:high` before the text if you like.',
        });
      }
      const report = { key: `inbox:${known.inboxId}:reply`, conversation: known.event.conversation };
      const owed: LaneWake[] = [];
      const broadcast = await sendBroadcast(tx, {
        id: idFrom(`announce:${known.inboxId}`),
        markdown: text,
        level,
        priority,
        author: known.person.displayName,
        createdBy: known.person.id,
        turnId: undefined,
        targets: to ?? defaultTo,
        report,
        agentContext: {
          origin: known.origin,
          sender: undefined,
          listAgents: deps.listAgents,
          owe: (wakes) => owed.push(...wakes),
        },
      });
      if (owed.length > 0) afterCommit(async () => await deps.ring(owed));
      const message = reportMessage(broadcast, report.key, report.conversation);
      const { interactionToken } = known.event;
      await putMessages(tx, [
        interactionToken === undefined ? message : { ...message, body: { ...message.body, interactionToken } },
      ]);
      return undefined;
    },
  };
}

interface Announcement {
  readonly to: readonly string[] | undefined;
  readonly level: BroadcastLevel;
  readonly priority: BroadcastPriority;
  readonly text: string;
}

/** Reads `agents`, `agent:<name>`, `to:`, `level:` and `priority:` off the front; the rest is the text. */
function readAnnouncement(args: string): Announcement {
  const [agents] = /^(?:agents|agent:\S+)(?=\s)/.exec(args.trim()) ?? [];
  let rest = args
    .trim()
    .slice(agents?.length ?? 0)
    .trimStart();
  let to = agents === undefined ? undefined : [agents];
  let level: BroadcastLevel = 'announcement';
  let priority: BroadcastPriority = 'normal';
  for (;;) {
    const [all, name, value = ''] = /^(to|level|priority):(\S+)\s*/i.exec(rest) ?? [];
    if (all === undefined || name === undefined) return { to, level, priority, text: rest };
    if (name.toLowerCase() === 'to') to = value.split(',').filter((target) => target !== '');
    else if (name.toLowerCase() === 'level') level = oneOf(value, broadcastLevels, 'level');
    else priority = oneOf(value, broadcastPriorities, 'priority');
    rest = rest.slice(all.length);
  }
}

function oneOf<Word extends string>(value: string, words: readonly Word[], what: string): Word {
  const found = words.find((word) => word === value.toLowerCase());
  if (found !== undefined) return found;
  throw new AppError('command.invalid', `There is no ${what} "${value.slice(0, 40)}".`, {
    mend: `Use one of ${words.join(', ')}.`,
  });
}
