import { type Command, Option } from 'commander';
import { AppError } from '#core/kit/errors.ts';
import { createPairingCode } from '#core/people/create-pairing-code.ts';
import { allowPerson, changeRole, listPeople, removePerson, shortId } from '#core/people/manage-people.ts';
import { listPairingCodes, revokePairingCodes } from '#core/people/pairing-codes.ts';
import type { PersonRole } from '#core/people/person.ts';
import type { CliDeps } from './cli-deps.ts';
import { formatTime } from './format-time.ts';
import { operatorId } from './operator.ts';
import { printJson, printLine, printTable } from './terminal.ts';

/** Long enough to walk over to somebody, short enough to be no standing invitation. */
const codeMs = 60 * 60_000;

const roles: readonly PersonRole[] = ['owner', 'admin', 'member'];

/** Commands about who may use the product; whoever can run them acts as the owner. */
export function addPeople(program: Command, deps: CliDeps): void {
  program
    .command('pair')
    .description('make a one-time code that lets somebody use the bot')
    .addOption(new Option('--role <role>', 'what they will be').choices(roles).default('member'))
    .option('--json', 'print one JSON object')
    .action(async (options: { role: PersonRole; json?: true }) => {
      await using database = await deps.openDatabase();
      const createdBy = await operatorId(database.db);
      const code = await createPairingCode({ db: database.db }, { role: options.role, createdBy, validMs: codeMs });
      if (options.json === true) return printJson(deps.terminal, { code, role: options.role, validMs: codeMs });
      printLine(deps.terminal, `Code for one ${options.role}: ${code}`);
      printLine(deps.terminal, `They send the bot: /start ${code}    It works once, within an hour.`);
    });

  const people = program.command('people').description('who the bot works for');
  people
    .command('list')
    .description('show everyone with their accounts, and who lately tried to get in')
    .option('--json', 'print one JSON object')
    .action(async (options: { json?: true }) => {
      await using database = await deps.openDatabase();
      const listed = await listPeople(database.db);
      if (options.json === true) return printJson(deps.terminal, listed);
      printTable(
        deps.terminal,
        ['ID', 'ROLE', 'NAME', 'SEEN', 'ACCOUNTS'],
        [
          ...listed.people.map((person) => [
            shortId(person.id),
            person.role,
            person.displayName,
            person.lastSeenAt === undefined ? 'never' : formatTime(person.lastSeenAt),
            person.accounts.map(({ channel, externalId }) => `${channel}:${externalId}`).join(', '),
          ]),
          ...listed.strangers.map((stranger) => [
            shortId(stranger.id),
            'stranger',
            stranger.displayName,
            '',
            `${stranger.channel}:${stranger.externalId}`,
          ]),
        ],
      );
    });
  people
    .command('allow')
    .description('let somebody in as a member: by id or name from the list, or by channel:account-id')
    .argument('<who>')
    .action(async (who: string) => {
      const person = await asOperator(deps, async (tx, by) => await allowPerson(tx, by, who));
      printLine(deps.terminal, `Let in: ${person.displayName} (${person.role}).`);
    });
  people
    .command('remove')
    .description('do nothing for somebody any more')
    .argument('<who>')
    .action(async (who: string) => {
      const person = await asOperator(deps, async (tx, by) => await removePerson(tx, by, who));
      printLine(deps.terminal, `Removed: ${person.displayName}.`);
    });
  people
    .command('role')
    .description('change what somebody may do')
    .argument('<who>')
    .argument('<role>', 'owner, admin or member')
    .action(async (who: string, wanted: string) => {
      const role = roles.find((item) => item === wanted);
      if (role === undefined) {
        throw new AppError('command.invalid', `There is no role "${wanted.slice(0, 40)}".`, {
          mend: `Use one of ${roles.join(', ')}.`,
        });
      }
      const person = await asOperator(deps, async (tx, by) => await changeRole(tx, by, who, role));
      printLine(deps.terminal, `${person.displayName} is ${person.role}.`);
    });
  people
    .command('codes')
    .description('show the pairing codes that could still be used')
    .option('--json', 'print one JSON object')
    .action(async (options: { json?: true }) => {
      await using database = await deps.openDatabase();
      const codes = await listPairingCodes(database.db);
      if (options.json === true) return printJson(deps.terminal, { codes });
      if (codes.length === 0) return printLine(deps.terminal, 'No pairing code is open.');
      printTable(
        deps.terminal,
        ['ID', 'FOR', 'EXPIRES', 'MADE BY'],
        codes.map((code) => [code.id, `one ${code.role}`, formatTime(code.expiresAt), code.createdBy ?? 'the start']),
      );
    });
  people
    .command('revoke-code')
    .description('withdraw an unused pairing code, or all of them')
    .argument('[id]')
    .action(async (id: string | undefined) => {
      const count = await asOperator(deps, async (tx, by) => await revokePairingCodes(tx, id, by.id));
      if (count === 0 && id !== undefined) {
        throw new AppError('command.invalid', `No open code has the id ${id.slice(0, 20)}.`, {
          mend: 'See ./switchyard people codes.',
        });
      }
      printLine(deps.terminal, `Revoked: ${count}.`);
    });
}

/** Changes something about people as the owner, in one transaction. */
async function asOperator<Result>(
  deps: CliDeps,
  work: (tx: Parameters<typeof allowPerson>[0], by: { readonly id: string; readonly role: 'owner' }) => Promise<Result>,
): Promise<Result> {
  await using database = await deps.openDatabase();
  const id = await operatorId(database.db);
  return await database.db.transaction().execute(async (tx) => await work(tx, { id, role: 'owner' }));
}
