import type { Command } from 'commander';
import { AppError, isAppError } from '#core/kit/errors.ts';
import { readSandboxEvents } from '#core/sandboxes/read-sandbox-events.ts';
import { attachTerminalCommand, terminalNamePattern } from '#core/sandboxes/terminal-socket.ts';
import type { CliDeps, SandboxLine } from './cli-deps.ts';
import { ExitCode } from './exit-code.ts';
import { formatTime } from './format-time.ts';
import { addSandboxImages } from './sandbox-images.ts';
import { printJson, printLine, printTable } from './terminal.ts';

const eventsMax = 50;
const minuteMs = 60_000;
/** Share of a limit from which a sandbox counts as near it. */
const nearShare = 0.9;

/** Commands about the containers agents work in, and the images they are made from. */
export function addSandbox(program: Command, deps: CliDeps): void {
  const { terminal } = deps;
  const sandbox = program.command('sandbox').description('the containers agents work in');
  addSandboxImages(sandbox, deps);

  sandbox
    .command('list')
    .description('show the containers of this installation')
    .option('--all', 'those of other installations on these engines, too')
    .option('--json', 'print one JSON object')
    .action(async (options: { all?: true; json?: true }) => {
      await using desk = await deps.openSandboxes();
      const { sandboxes, away } = await desk.list({ all: options.all === true });
      for (const text of away) terminal.stderr.write(`${text}\n`);
      if (options.json === true) return printJson(terminal, { sandboxes, away });
      const columns = ['ID', 'STATE', 'KIND', 'AGENT', 'HOST', 'MEMORY MIB', 'PROCESSES', 'DISK MIB', 'AGE', 'SESSION'];
      printTable(
        terminal,
        options.all === true ? [...columns, 'INSTALLATION'] : columns,
        sandboxes.map((row) => [
          row.id,
          row.state,
          row.kind,
          row.agent,
          row.host,
          shareOf(row.memoryUsedMb, row.memoryMb),
          shareOf(row.processesUsed, row.processes),
          `${shareOf(row.diskUsedMb, row.diskMb)} ${row.disk}`.trim(),
          ageOf(row.createdAt),
          row.sessionId === '' ? '(ready for one)' : row.sessionId,
          ...(options.all === true ? [row.isOurs ? '(this one)' : row.instance] : []),
        ]),
      );
    });

  sandbox
    .command('shell')
    .description('open a shell in the container of a session, as its agent’s user')
    .argument('<session>', 'id of a session or container, or the beginning of one')
    .option('-c, --command <command>', 'run this and print what it says, without a terminal')
    .option('--browser', 'the container of its browser')
    .option('--terminal <name>', 'watch a terminal of the agent instead; Ctrl+] leaves it')
    .option('--write', 'with --terminal: type into it as well')
    .action(async (text: string, options: ShellOptions) => {
      const command = commandOf(options);
      await using desk = await deps.openSandboxes();
      const sessionId = await desk.sessionOf(text);
      const kind = options.browser === true ? 'browser' : 'core';
      const code = await desk.shell(sessionId, { kind, ...command });
      if (code !== 0) throw new ExitCode(code);
    });

  sandbox
    .command('logs')
    .description(`show the last ${eventsMax} things that happened to a session’s containers, and what they are now`)
    .argument('<session>', 'id of a session or container, or the beginning of one')
    .option('--json', 'print one JSON object')
    .action(async (text: string, options: { json?: true }) => {
      await using database = await deps.openDatabase();
      await using desk = await deps.openSandboxes();
      const sessionId = await desk.sessionOf(text);
      const events = await readSandboxEvents(database.db, sessionId, eventsMax);
      const now = await desk.describe(sessionId).catch((err: unknown) => {
        if (isAppError(err)) return [err.text];
        throw err;
      });
      if (options.json === true) return printJson(terminal, { sessionId, events, now });
      printTable(
        terminal,
        ['WHEN', 'KIND', 'HOST', 'WHAT', 'DETAIL'],
        events.map((event) => [formatTime(event.at), event.kind, event.host, event.what, event.detail ?? '']),
      );
      for (const line of now) printLine(terminal, `Now: ${line}.`);
    });

  sandbox
    .command('rm')
    .description('remove the containers of a session; its files stay')
    .argument('<session>', 'id of a session or container, or the beginning of one')
    .option('--workspace', 'its files as well, for good')
    .option('-y, --yes', 'do not ask')
    .action(async (text: string, options: { workspace?: true; yes?: true }) => {
      await using desk = await deps.openSandboxes();
      const sessionId = await desk.sessionOf(text);
      if (options.workspace === true && options.yes !== true) await confirm(deps, `Delete all files of ${sessionId}?`);
      const removed = await desk.remove(sessionId, { withWorkspace: options.workspace === true });
      const files = options.workspace === true ? 'The files are deleted.' : 'The files are kept.';
      printLine(terminal, `${counted(removed, 'container')} of ${sessionId} removed. ${files}`);
    });

  sandbox
    .command('prune')
    .description('remove what no living worker holds: containers, half-made workspaces, mounts')
    .option('--workspaces', 'the files of sessions that have ended as well, for good')
    .option('-y, --yes', 'do not ask')
    .option('--json', 'print one JSON object')
    .action(async (options: { workspaces?: true; yes?: true; json?: true }) => {
      await using desk = await deps.openSandboxes();
      if (options.workspaces === true && options.yes !== true) {
        await confirm(deps, 'Delete the files of every session that has ended?');
      }
      const { removed, cleared, forgotten } = await desk.prune({ workspaces: options.workspaces === true });
      if (options.json === true) return printJson(terminal, { removed, cleared, forgotten });
      const parts = [
        counted(removed, 'container'),
        `${cleared} leftovers`,
        `the files of ${counted(forgotten, 'session')}`,
      ];
      printLine(terminal, `Removed ${parts.join(', ')}.`);
    });
}

interface ShellOptions {
  readonly command?: string;
  readonly browser?: true;
  readonly terminal?: string;
  readonly write?: true;
}

/** What the shell runs. @throws AppError `command.invalid` for options that do not go together. */
function commandOf({ command, browser, terminal, write }: ShellOptions): {
  readonly command?: string;
  readonly isInteractive?: boolean;
} {
  const invalid = (message: string) => new AppError('command.invalid', message);
  if (terminal === undefined) {
    if (write === true) throw invalid('--write goes with --terminal.');
    return command === undefined ? {} : { command };
  }
  if (command !== undefined || browser === true) throw invalid('--terminal goes without --command and --browser.');
  if (!terminalNamePattern.test(terminal)) throw invalid(`${terminal} is not the name of a terminal.`);
  return { command: attachTerminalCommand(terminal, { mayType: write === true }), isInteractive: true };
}

async function confirm(deps: CliDeps, question: string): Promise<void> {
  using questions = deps.openQuestions();
  if (questions === undefined) {
    throw new AppError('command.invalid', 'Nobody is here to be asked.', {
      mend: 'Add --yes to do it without asking.',
    });
  }
  const answer = await questions.ask(`${question} [y/N] `, 'n');
  if (!/^y(es)?$/i.test(answer)) throw new ExitCode(1);
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

/** What is used of what may be; from nine tenths on with a mark. */
function shareOf(used: number | undefined, of: number | undefined): string {
  const isNear = used !== undefined && of !== undefined && of > 0 && used >= of * nearShare;
  return `${used === undefined ? '-' : Math.round(used)}/${of ?? '-'}${isNear ? ' !' : ''}`;
}

/** The time is a label of the container, which anybody could have written. */
function ageOf(createdAt: SandboxLine['createdAt']): string {
  const minutes = Math.floor((Date.now() - Date.parse(createdAt)) / minuteMs);
  if (!Number.isFinite(minutes) || minutes < 0) return '-';
  if (minutes < 60) return `${minutes}m`;
  return minutes < 48 * 60 ? `${Math.floor(minutes / 60)}h` : `${Math.floor(minutes / 1440)}d`;
}
