import type { Command } from 'commander';
import { findPerson } from '#core/broadcast/find-person.ts';
import { parseDuration } from '#core/kit/duration.ts';
import { AppError } from '#core/kit/errors.ts';
import { accessScopes, isAccessScope } from '#core/mcp/access-scope.ts';
import { createAccessToken, listAccessTokens, revokeAccessToken } from '#core/mcp/access-tokens.ts';
import type { CliDeps } from './cli-deps.ts';
import { formatTime } from './format-time.ts';
import { operatorId } from './operator.ts';
import { printJson, printLine, printTable } from './terminal.ts';

const validMsMax = 366 * 24 * 3_600_000;

/** `mcp token`: keys of programs outside. */
export function addMcpTokens(mcp: Command, deps: CliDeps): void {
  const { terminal } = deps;
  const token = mcp.command('token').description('keys of programs that use this installation over MCP');
  token
    .command('create')
    .description('make a key; it is shown once')
    .requiredOption('--name <name>', 'what it is for')
    .requiredOption('--scope <scopes>', `with commas between: ${accessScopes.join(', ')}`)
    .option('--agent <name>', 'the only agent it may give work to')
    .option('--person <who>', 'whom it acts for; the owner when left out')
    .option('--expires <span>', 'how long it works, such as 30d; at most 366d', '30d')
    .action(async (options: { name: string; scope: string; agent?: string; person?: string; expires: string }) => {
      const name = options.name.trim();
      if (!/^[\w][\w .-]{0,59}$/.test(name)) {
        throw new AppError('command.invalid', 'A name is 1 to 60 letters, digits, spaces, dots and hyphens.');
      }
      const wanted = options.scope.split(',').map((scope) => scope.trim());
      const scopes = wanted.filter(isAccessScope);
      const wrong = wanted.find((scope) => !isAccessScope(scope));
      if (wrong !== undefined) {
        throw new AppError('command.invalid', `There is no scope "${wrong.slice(0, 40)}".`, {
          mend: `Scopes are ${accessScopes.join(', ')}.`,
        });
      }
      const validMs = parseDuration(options.expires);
      if (validMs === undefined || validMs > validMsMax) {
        throw new AppError('command.invalid', `"${options.expires.slice(0, 40)}" is no span of time up to 366d.`, {
          mend: 'Write it like 12h or 30d.',
        });
      }
      const agent = options.agent;
      if (agent !== undefined && !(await deps.loadAgents()).some((profile) => profile.name === agent)) {
        throw new AppError('agent.unknown', `There is no agent "${agent.slice(0, 60)}".`, {
          mend: 'See ./switchyard agent list.',
        });
      }
      await using database = await deps.openDatabase();
      const { db } = database;
      const createdBy = await operatorId(db);
      const personId = options.person === undefined ? createdBy : (await findPerson(db, options.person)).id;
      const made = await createAccessToken(db, { name, scopes, agentName: agent, personId, createdBy, validMs });
      printLine(terminal, made.token);
      printLine(terminal, 'It is shown this once. Programs send it as "Authorization: Bearer ..." to /mcp.');
    });
  token
    .command('list')
    .description('show the keys without the keys')
    .option('--json', 'print one JSON object')
    .action(async (options: { json?: true }) => {
      await using database = await deps.openDatabase();
      const tokens = await listAccessTokens(database.db);
      if (options.json === true) return printJson(terminal, { tokens });
      if (tokens.length === 0) return printLine(terminal, 'There are no tokens.');
      printTable(
        terminal,
        ['NAME', 'STATE', 'FOR', 'AGENT', 'SCOPES', 'EXPIRES', 'LAST USED'],
        tokens.map((row) => [
          row.name,
          row.revokedAt !== undefined ? 'revoked' : row.expiresAt < new Date() ? 'expired' : 'in force',
          row.person.displayName,
          row.agentName ?? 'any',
          row.scopes.join(' '),
          formatTime(row.expiresAt),
          row.lastUsedAt === undefined ? 'never' : formatTime(row.lastUsedAt),
        ]),
      );
    });
  token
    .command('revoke')
    .description('end a key at once')
    .argument('<name>')
    .action(async (name: string) => {
      await using database = await deps.openDatabase();
      await revokeAccessToken(database.db, name, await operatorId(database.db));
      printLine(terminal, `Revoked: ${name}.`);
    });
}
