import { setTimeout as delay } from 'node:timers/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import {
  type Broadcast,
  type BroadcastLevel,
  type BroadcastPriority,
  broadcastLevels,
  broadcastPriorities,
  summarise,
} from '#core/broadcast/broadcast.ts';
import { listBroadcasts, readBroadcast } from '#core/broadcast/read-broadcast.ts';
import { sendBroadcast } from '#core/broadcast/send-broadcast.ts';
import type { Db } from '#core/kit/database.ts';
import { AppError } from '#core/kit/errors.ts';
import { newId } from '#core/kit/ids.ts';
import type { CliDeps } from './cli-deps.ts';
import { formatTime } from './format-time.ts';
import { operatorId } from './operator.ts';
import { printJson, printLine, printTable } from './terminal.ts';

const listedMax = 50;
const lookMs = 250;

interface SendOptions {
  readonly to: string[];
  readonly level: BroadcastLevel;
  readonly priority: BroadcastPriority;
  readonly wait: number;
  readonly json?: true;
}

/** Commands that say one thing in several places and show what became of it. */
export function addBroadcast(program: Command, deps: CliDeps): void {
  const { terminal } = deps;
  const broadcast = program.command('broadcast').description('say one thing in several places');
  broadcast
    .command('send')
    .description('send a message to people and rooms')
    .argument('<text>', 'Markdown')
    .requiredOption('--to <target...>', '@name, person:<id>, channel:room[:thread], rooms, people, owners or admins')
    .addOption(new Option('--level <level>', 'what it is').choices(broadcastLevels).default('announcement'))
    .addOption(new Option('--priority <priority>', 'how urgent it is').choices(broadcastPriorities).default('normal'))
    .option('--wait <seconds>', 'wait so long for the deliveries', toSeconds, 10)
    .option('--json', 'print one JSON object')
    .action(async (text: string, options: SendOptions) => {
      await using database = await deps.openDatabase();
      const { db } = database;
      const createdBy = await operatorId(db);
      const id = newId();
      await db.transaction().execute(
        async (tx) =>
          await sendBroadcast(tx, {
            id,
            markdown: text,
            level: options.level,
            priority: options.priority,
            author: 'operator',
            createdBy,
            turnId: undefined,
            report: undefined,
            targets: options.to,
          }),
      );
      const result = await waitForResults(db, id, options.wait * 1000, deps.signal);
      show(deps, result, options.json === true);
      if (result.results.every((one) => one.state === 'failed')) {
        throw new AppError('target.invalid', 'It went nowhere.', { mend: 'The table above says why.' });
      }
    });
  broadcast
    .command('list')
    .description('show the latest broadcasts')
    .option('--json', 'print one JSON object')
    .action(async (options: { json?: true }) => {
      await using database = await deps.openDatabase();
      const broadcasts = await listBroadcasts(database.db, listedMax);
      if (options.json === true) return printJson(terminal, { broadcasts });
      if (broadcasts.length === 0) return printLine(terminal, 'Nothing was broadcast yet.');
      printTable(
        terminal,
        ['ID', 'WHEN', 'BY', 'LEVEL', 'RESULT', 'TEXT'],
        broadcasts.map((one) => [
          one.id,
          formatTime(one.createdAt),
          one.author,
          one.level,
          summarise(one.results),
          one.markdown.replaceAll(/\s+/g, ' ').slice(0, 60),
        ]),
      );
    });
  broadcast
    .command('show')
    .description('show what became of a broadcast at each of its targets')
    .argument('<id>')
    .option('--json', 'print one JSON object')
    .action(async (id: string, options: { json?: true }) => {
      await using database = await deps.openDatabase();
      const found = isId(id) ? await readBroadcast(database.db, id) : undefined;
      if (found === undefined) {
        throw new AppError('request.not_found', `There is no broadcast ${id.slice(0, 60)}.`, {
          mend: 'See ./switchyard broadcast list.',
        });
      }
      show(deps, found, options.json === true);
    });
}

function show({ terminal }: CliDeps, broadcast: Broadcast, isJson: boolean): void {
  if (isJson) {
    printJson(terminal, broadcast);
    return;
  }
  printLine(terminal, `${broadcast.id}: ${summarise(broadcast.results)}`);
  printTable(
    terminal,
    ['TARGET', 'STATE', 'WHEN', 'WHY'],
    broadcast.results.map((result) => [
      result.target,
      result.state,
      result.deliveredAt === undefined ? '' : formatTime(result.deliveredAt),
      result.reason ?? '',
    ]),
  );
}

/** Deliveries are made by a running worker; without one everything stays waiting. */
async function waitForResults(db: Db, id: string, ms: number, signal: AbortSignal): Promise<Broadcast> {
  const end = Date.now() + ms;
  for (;;) {
    const broadcast = await readBroadcast(db, id);
    if (broadcast === undefined) throw new Error('the broadcast that was just written is gone');
    const isSettled = broadcast.results.every((result) => result.state !== 'waiting');
    if (isSettled || signal.aborted || Date.now() >= end) return broadcast;
    await delay(lookMs, undefined, { signal }).catch(() => undefined);
  }
}

function toSeconds(text: string): number {
  const seconds = Number(text);
  if (Number.isFinite(seconds) && seconds >= 0 && seconds <= 3600) return seconds;
  throw new InvalidArgumentError('Give a number of seconds from 0 to 3600.');
}

function isId(text: string): boolean {
  return /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);
}
