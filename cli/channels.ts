import type { Command } from 'commander';
import { listRooms, unmuteRoom } from '#core/channels/read-room.ts';
import { listAccounts, switchChannel } from '#core/channels/switch-channel.ts';
import { AppError } from '#core/kit/errors.ts';
import type { CliDeps } from './cli-deps.ts';
import { formatTime } from './format-time.ts';
import { operatorId } from './operator.ts';
import { printJson, printLine, printTable } from './terminal.ts';

/** A gateway writes the health of its accounts at least four times as often. */
const staleMs = 60_000;

/** Commands about our accounts on the chat platforms, and the rooms they are in. */
export function addChannels(program: Command, deps: CliDeps): void {
  const channel = program.command('channel').description('our accounts on the chat platforms');
  channel
    .command('list')
    .description('show every account and how it does')
    .option('--json', 'print one JSON object')
    .action(async (options: { json?: true }) => {
      await using database = await deps.openDatabase();
      const accounts = (await listAccounts(database.db)).map((row) => ({
        ...row,
        isStale: Date.now() - row.updatedAt.getTime() > staleMs,
      }));
      if (options.json === true) return printJson(deps.terminal, { accounts });
      if (accounts.length === 0) return printLine(deps.terminal, 'No channel was opened yet.');
      printTable(
        deps.terminal,
        ['CHANNEL', 'ACCOUNT', 'STATE', 'SEEN', 'DETAIL'],
        accounts.map(({ channel: name, account, isEnabled, isStale, state, updatedAt, detail }) => [
          name,
          account,
          isEnabled ? (isStale ? 'no gateway' : state) : 'off',
          formatTime(updatedAt),
          detail,
        ]),
      );
    });
  for (const [verb, isEnabled] of [
    ['enable', true],
    ['disable', false],
  ] as const) {
    channel
      .command(verb)
      .description(isEnabled ? 'receive and send again' : 'receive and send nothing; what is to be said waits')
      .argument('<name>', 'a channel, or channel:account')
      .action(async (name: string) => {
        await using database = await deps.openDatabase();
        const by = await operatorId(database.db);
        const changed = await switchChannel(database.db, name, { isEnabled, by });
        const word = isEnabled ? 'on' : 'off';
        printLine(
          deps.terminal,
          changed.length === 0
            ? `${name} was ${word} already.`
            : `${name} is ${word}. It takes effect within two seconds.`,
        );
      });
  }
  channel
    .command('rooms')
    .description('show the rooms something was noted of')
    .option('--json', 'print one JSON object')
    .action(async (options: { json?: true }) => {
      await using database = await deps.openDatabase();
      const rooms = await listRooms(database.db);
      if (options.json === true) return printJson(deps.terminal, { rooms });
      if (rooms.length === 0) return printLine(deps.terminal, 'Nothing was noted of any room.');
      printTable(
        deps.terminal,
        ['CHANNEL', 'ROOM', 'STATE', 'MUTED UNTIL', 'REASON'],
        rooms.map((room) => [
          room.channel,
          room.room,
          room.migratedTo === undefined ? room.state : `moved to ${room.migratedTo}`,
          room.mutedUntil === undefined || room.mutedUntil < new Date() ? '' : formatTime(room.mutedUntil),
          room.reason,
        ]),
      );
    });
  channel
    .command('unmute')
    .description('listen to a room again that was flooding the bot')
    .argument('<channel>')
    .argument('<room>')
    .action(async (name: string, room: string) => {
      await using database = await deps.openDatabase();
      const found = (await listRooms(database.db)).find((item) => item.channel === name && item.room === room);
      if (found === undefined) {
        throw new AppError('command.invalid', `Nothing is known of the ${name} room ${room.slice(0, 60)}.`, {
          mend: 'See ./switchyard channel rooms.',
        });
      }
      await unmuteRoom(database.db, found);
      printLine(deps.terminal, `Listening to ${room} again.`);
    });
}
