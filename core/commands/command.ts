import { endEvent } from '../inbox/end-event.ts';
import type { KnownEvent } from '../inbox/known-event.ts';
import type { Db, Tx } from '../kit/database.ts';
import { AppError } from '../kit/errors.ts';
import { putMessages } from '../outbox/put-messages.ts';
import { commandList } from './command-list.ts';

/** What a command answers in the thread; undefined when its effect speaks for itself. */
export type CommandReply = { readonly markdown: string; readonly level?: 'info' | 'warn' } | undefined;

/**
 * Carries out one command in the transaction that also ends its inbox row. What must happen only after the commit (the
 * bell of a resumed lane) is registered with `afterCommit`.
 */
export type Command = (
  tx: Tx,
  known: KnownEvent,
  args: string,
  afterCommit: (work: () => Promise<void>) => void,
) => Promise<CommandReply>;

export type RunCommand = (known: KnownEvent, name: string, args: string) => Promise<void>;

const names = new Set([...commandList.map((command) => command.name), 'start', 'reset']);

/** Whether a command name is ours; in a group any other is left to other bots. */
export function isRunnable(name: string): boolean {
  return names.has(name);
}

/**
 * Runs commands from a table; `accept` are the commands that become turns and so bring their own transaction.
 * @throws AppError `command.unknown` with the nearest help.
 */
export function createRunCommand(
  deps: { readonly db: Db },
  table: Readonly<Record<string, Command>>,
  accept: Readonly<Record<string, (known: KnownEvent, args: string) => Promise<void>>>,
): RunCommand {
  return async (known, name, args) => {
    const accepting = own(accept, name);
    if (accepting !== undefined) return await accepting(known, args);
    const command = own(table, name);
    if (command === undefined) throw unknownCommand(name);
    const later: (() => Promise<void>)[] = [];
    await deps.db.transaction().execute(async (tx) => {
      // Ended first: a second routing of the same event waits for this commit and then does nothing.
      if (!(await endEvent(tx, known.inboxId, 'routed'))) return;
      const reply = await command(tx, known, args.trim(), (work) => later.push(work));
      if (reply === undefined) return;
      await putMessages(tx, [
        {
          key: `inbox:${known.inboxId}:reply`,
          conversation: known.event.conversation,
          importance: 'notice',
          body: {
            parts: [
              reply.level === undefined
                ? { type: 'markdown', markdown: reply.markdown }
                : { type: 'notice', level: reply.level, markdown: reply.markdown },
            ],
          },
        },
      ]);
    });
    for (const work of later) await work();
  };
}

/** The answer to a command nobody has. */
export function unknownCommand(name: string): AppError {
  return new AppError('command.unknown', `There is no command \`/${name.slice(0, 40).replaceAll('`', '')}\`.`, {
    mend: 'Send /help to see what there is.',
  });
}

/** A name typed by a person must not reach what every object inherits, such as `constructor`. */
function own<Value>(table: Readonly<Record<string, Value>>, name: string): Value | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}
