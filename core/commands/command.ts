import { endEvent } from '../inbox/end-event.ts';
import type { KnownEvent } from '../inbox/known-event.ts';
import type { Db, Tx } from '../kit/database.ts';
import { AppError } from '../kit/errors.ts';
import { nearestWord } from '../kit/nearest-word.ts';
import type { Button, OutboundPart } from '../outbox/outbound.ts';
import { type NewMessage, putMessages } from '../outbox/put-messages.ts';
import type { CommandDeps } from './command-deps.ts';
import { commandList } from './command-list.ts';

/**
 * What a command answers in the thread. An effect that speaks for itself is `acknowledged` only where the platform waits
 * for an answer to a command, and needs nothing at all where the command acknowledges by itself.
 */
export type CommandReply =
  | {
      readonly markdown: string;
      readonly level?: 'info' | 'warn';
      /** Below the text. */
      readonly buttons?: readonly (readonly Button[])[];
    }
  | { readonly acknowledged: string }
  | undefined;

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
  deps: { readonly db: Db; readonly acknowledge: CommandDeps['acknowledge'] },
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
      if ('acknowledged' in reply) {
        later.push(async () => await deps.acknowledge(known.event, reply.acknowledged, false));
        return;
      }
      await putMessages(tx, [replyMessage(known, reply)]);
    });
    for (const work of later) await work();
  };
}

/** An answer to an event, as a reply to the interaction where the platform wants one. */
export function replyMessage(
  known: Pick<KnownEvent, 'inboxId' | 'event'>,
  reply: Extract<CommandReply, { markdown: string }>,
): NewMessage {
  const { event, inboxId } = known;
  const text: OutboundPart =
    reply.level === undefined
      ? { type: 'markdown', markdown: reply.markdown }
      : { type: 'notice', level: reply.level, markdown: reply.markdown };
  const rows = reply.buttons?.map((row) => [...row]);
  return {
    key: `inbox:${inboxId}:reply`,
    conversation: event.conversation,
    importance: 'notice',
    body: {
      parts: rows === undefined ? [text] : [text, { type: 'buttons', rows }],
      ...(event.interactionToken === undefined ? {} : { interactionToken: event.interactionToken }),
    },
  };
}

/** The answer to a command nobody has. */
export function unknownCommand(name: string): AppError {
  const near = nearestWord(name, names);
  return new AppError('command.unknown', `There is no command \`/${name.slice(0, 40).replaceAll('`', '')}\`.`, {
    mend: `${near === undefined ? '' : `Did you mean \`/${near}\`? `}Send /help to see what there is.`,
  });
}

/** A name typed by a person must not reach what every object inherits, such as `constructor`. */
function own<Value>(table: Readonly<Record<string, Value>>, name: string): Value | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined;
}
