import type { Command } from 'commander';
import type { Db, Tx } from '#core/kit/database.ts';
import { AppError } from '#core/kit/errors.ts';
import { rewrapLogins } from '#core/mcp/rewrap-logins.ts';
import type { KekSource } from '#core/vault/kek-source.ts';
import { listSecrets } from '#core/vault/list-secrets.ts';
import { removeSecret, retireVersions } from '#core/vault/remove-secret.ts';
import { rotateMaster } from '#core/vault/rotate-master.ts';
import { checkName, checkScope, type SecretScope, type SecretSummary } from '#core/vault/secret.ts';
import { changeScope, type SetBy, type SetOutcome, setSecret } from '#core/vault/set-secret.ts';
import type { CliDeps } from './cli-deps.ts';
import { ExitCode } from './exit-code.ts';
import { formatTime } from './format-time.ts';
import { operatorId } from './operator.ts';
import { printJson, printLine, printTable } from './terminal.ts';

interface ScopeOptions {
  readonly agent?: readonly string[];
  readonly host?: readonly string[];
}

/** Commands about secrets that agents may use and nobody may read: no command prints a value. */
export function addVault(program: Command, deps: CliDeps): void {
  const vault = program.command('vault').description('secrets that agents use and nobody reads');
  vault
    .command('set')
    .description('keep a secret; the value is asked for, or read from standard input')
    .argument('<name>')
    .argument('[value...]', 'refused: values are not arguments')
    .option('--agent <pattern...>', 'agents that may use it; of an existing secret they stay unless told')
    .option('--host <pattern...>', 'hosts it may be sent to, like api.example.org or *.example.org')
    .action(async (name: string, rest: readonly string[], options: ScopeOptions) => {
      refuseValue(rest);
      checkName(name);
      checkScope({ agents: options.agent ?? [], hosts: options.host ?? [] });
      const value = await readValue(deps, name);
      const outcome = await change(deps, async (tx, kek, by) => {
        return await setSecret({ tx, kek }, { name, value, ...scopeOf(options) }, by);
      });
      tell(deps, outcome);
    });
  vault
    .command('list')
    .description('show what there is: versions, who may use it where, its age and last use')
    .option('--json', 'print one JSON object')
    .action(async (options: { json?: true }) => {
      await using database = await deps.openDatabase();
      const secrets = await listSecrets(database.db);
      if (options.json === true) return printJson(deps.terminal, { secrets });
      if (secrets.length === 0)
        return printLine(deps.terminal, 'The vault is empty. See ./switchyard vault set --help.');
      printTable(deps.terminal, ['NAME', 'VERSION', 'SET', 'USED', 'AGENTS', 'HOSTS'], secrets.map(rowOf));
    });
  vault
    .command('scope')
    .description('change who may use a secret and where, without its value')
    .argument('<name>')
    .option('--agent <pattern...>', 'agents that may use it, in place of those it has')
    .option('--host <pattern...>', 'hosts it may be sent to, in place of those it has')
    .action(async (name: string, options: ScopeOptions) => {
      if (options.agent === undefined && options.host === undefined) {
        throw new AppError('command.invalid', 'Neither an agent nor a host was named.', {
          mend: 'Use --agent, --host or both.',
        });
      }
      const outcome = await change(deps, async (tx, kek, by) => {
        return await changeScope({ tx, kek }, { name, ...scopeOf(options) }, by);
      });
      tell(deps, outcome);
    });
  vault
    .command('rotate')
    .description('give a secret a new value, or wrap all of them under a new master key')
    .argument('[name]')
    .argument('[value...]', 'refused: values are not arguments')
    .option('--master', 'make a new master key; no secret changes')
    .action(async (name: string | undefined, rest: readonly string[], options: { master?: true }) => {
      refuseValue(rest);
      if ((name === undefined) === (options.master !== true)) {
        throw new AppError('command.invalid', 'What shall be rotated?', {
          mend: 'Name one secret, or use --master alone.',
        });
      }
      if (name === undefined) return await rotateAll(deps);
      checkName(name);
      const value = await readValue(deps, name);
      const outcome = await change(deps, async (tx, kek, by) => {
        return await setSecret({ tx, kek }, { name, value, mustExist: true }, by);
      });
      tell(deps, outcome);
    });
  vault
    .command('rm')
    .description('forget a secret; revoke it where it was issued as well')
    .argument('<name>')
    .option('--old', 'forget only the versions before the newest')
    .action(async (name: string, options: { old?: true }) => {
      await using database = await deps.openDatabase();
      const by = await operator(database.db);
      const text = await database.db.transaction().execute(async (tx) => {
        if (options.old === true) return `Forgotten: ${await retireVersions(tx, name, by)} older versions of ${name}.`;
        await removeSecret(tx, name, by);
        return `Removed: ${name}. Revoke it where it was issued, if it is not needed any more.`;
      });
      printLine(deps.terminal, text);
    });
}

/** What stands on a command line is in the history of the shell and in the list of processes. */
function refuseValue(rest: readonly string[]): void {
  if (rest.length === 0) return;
  throw new AppError('command.invalid', 'A value was written on the command line, where others can read it.', {
    mend: 'Replace it where it was issued. Then leave it out: you are asked for it, or pipe it in (< file).',
  });
}

function scopeOf({ agent, host }: ScopeOptions): Partial<SecretScope> {
  return { ...(agent === undefined ? {} : { agents: agent }), ...(host === undefined ? {} : { hosts: host }) };
}

async function readValue(deps: CliDeps, name: string): Promise<string> {
  using questions = deps.openQuestions();
  const value =
    questions === undefined ? await deps.readStdin() : await questions.secret(`Value of ${name} (not shown): `);
  if (value.trim() !== '') return value;
  throw new AppError('credential.invalid', 'No value was given.', {
    mend: `Type it when asked, or pipe it in: ./switchyard vault set ${name} < file`,
  });
}

async function change(
  deps: CliDeps,
  work: (tx: Tx, kek: KekSource, by: SetBy) => Promise<SetOutcome>,
): Promise<SetOutcome> {
  await using database = await deps.openDatabase();
  const by = await operator(database.db);
  const kek = deps.openKek();
  return await database.db.transaction().execute(async (tx) => await work(tx, kek, by));
}

async function rotateAll(deps: CliDeps): Promise<void> {
  await using database = await deps.openDatabase();
  const by = await operator(database.db);
  const { kekId, count, broken } = await rotateMaster(
    { db: database.db, kek: deps.openKek(), more: [rewrapLogins] },
    by,
  );
  printLine(deps.terminal, `Wrapped anew: ${count} ${count === 1 ? 'key' : 'keys'}, under ${kekId}.`);
  if (broken.length === 0) return;
  deps.terminal.stderr.write(`Not as they were sealed, and left alone: ${broken.join(', ')}.\n`);
  deps.terminal.stderr.write(
    'The old master key is kept for them. Set these secrets anew, or bring their rows back.\n',
  );
  throw new ExitCode(1);
}

async function operator(db: Db): Promise<SetBy> {
  return { personId: await operatorId(db), via: 'cli' };
}

function tell(deps: CliDeps, outcome: SetOutcome): void {
  const { name, version, agents, hosts } = outcome;
  printLine(deps.terminal, `Kept: ${name}, version ${version}.`);
  if (agents.length > 0 && hosts.length > 0) {
    printLine(deps.terminal, `For ${agents.join(', ')}, at ${hosts.join(', ')}.`);
    return;
  }
  const missing = [...(agents.length === 0 ? ['--agent NAME'] : []), ...(hosts.length === 0 ? ['--host HOST'] : [])];
  printLine(deps.terminal, `Nobody may use it yet: ./switchyard vault scope ${name} ${missing.join(' ')}`);
}

function rowOf(secret: SecretSummary): string[] {
  const used =
    secret.lastUsedAt === undefined ? 'never' : `${formatTime(secret.lastUsedAt)} ${secret.lastUsedBy ?? ''}`;
  return [
    secret.name,
    secret.olderCount === 0 ? String(secret.version) : `${secret.version} (+${secret.olderCount} older)`,
    formatTime(secret.setAt),
    used,
    secret.agents.join(', ') || 'nobody',
    secret.hosts.join(', ') || 'nowhere',
  ];
}
